"""The routes of accounts where requests are sent: with the proxy that the environment names, and checked."""

import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from config.account import Account
from config.faults import Fault
from config.proxy import FORM, NONE, ProxyServer, named_for, problem_of
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
            problem = f"{problem_of(value)}, and accounts.{account.name} would use it"
            faults.append(Fault((variable,), problem, f"{FORM}: there, or in the account's proxy"))
    faults += [*_unusable(account, variable, tunnels=tunnels), *_trusts_nobody(account, environment)]
    return account, faults


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


def _trusts_nobody(account: Account, environment: Mapping[str, str]) -> Iterator[Fault]:
    """Yield that there is no certificate authority: each connection would fail, as if the provider's were wrong."""
    if account.route.ca_bundle or not account.endpoint.startswith("https:"):
        return
    paths = ssl.get_default_verify_paths()
    file = environment.get(paths.openssl_cafile_env) or paths.openssl_cafile
    folders = environment.get(paths.openssl_capath_env) or paths.openssl_capath
    if any(map(_holds_any, (file, *folders.split(os.pathsep)))):
        return
    named = [name for name in (paths.openssl_cafile_env, paths.openssl_capath_env) if environment.get(name)]
    by = f", as {' and '.join(named)} say" if named else ""
    yield Fault(
        ("accounts", account.name, "ca_bundle"),
        f"is not set, and there are no certificate authorities in {file} or {folders}{by}",
        "install the package ca-certificates, or name a PEM file",
    )


def _holds_any(place: str) -> bool:
    """Return whether a file or a folder may hold authorities; what can't be looked at counts."""
    try:
        return Path(place).is_file() or any(Path(place).iterdir())
    except OSError as error:
        return isinstance(error, PermissionError)
