"""The routes of accounts where requests are sent: with the proxy that the environment names, and checked."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from config.account import Account
from config.faults import Fault
from config.proxy import FORM, NONE, ProxyServer, named_for
from config.route import UnusableFileError


def routed(account: Account, environment: Mapping[str, str], *, tunnels: bool) -> tuple[Account, list[Fault]]:
    """Return the account with the proxy that the environment names for it, and what is wrong with its route.

    `tunnels`: whether the HTTP engine can use a proxy. Commands that only look on do without this: the files of a route
    need not be there for them.
    """
    faults: list[Fault] = []
    variable = ""
    if not account.proxy_is_chosen and (named := named_for(account.endpoint, environment)):
        variable, value = named
        try:
            account = replace(account, route=replace(account.route, proxy=ProxyServer.parse(value)))
        except ValueError:
            problem = f"is not an HTTP proxy, and accounts.{account.name} would use it"
            faults.append(Fault((variable,), problem, f"{FORM}: there, or in the account's proxy"))
    return account, [*faults, *_unusable(account, variable, tunnels=tunnels)]


def _unusable(account: Account, variable: str, *, tunnels: bool) -> Iterator[Fault]:
    """Yield what can't be used of an account's route; `variable` names its proxy, if the account does not."""
    if account.route.proxy and not tunnels:
        by = f" by {variable}" if variable else ""
        problem = f"is {account.route.proxy}{by}, and http_engine httpx can't use one"
        yield Fault(("accounts", account.name, "proxy"), problem, f"set it to {NONE}, or use builtin")
    if account.route.files:
        try:
            account.route.context()
        except UnusableFileError as error:
            path = ("accounts", account.name, error.setting)
            yield Fault(path, "can't be used", f"{error.file}: {error.problem}")
