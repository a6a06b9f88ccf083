"""What an operator does to an account: pause, resume, slow down; each change is audited."""

from __future__ import annotations

import re

from config.account import Account
from tasks.fleet.operation import Mode, Operation
from tasks.fleet.snapshot import AccountSnapshot
from worker.cli.ask import ask
from worker.cli.errors import DONE, WRONG, CommandError
from worker.cli.run import no_such_account
from worker.cli.screen import screen, write_json
from worker.cli.session import Session, session
from worker.cli.who import read_reason, who
from worker.cli.written import write_down
from worker.fleet.wording import count, goes_on_until, plain

DEFAULT = "default"
"""The word for the rate of the settings."""


def pause(name: str, mode: str, reason: str, by: str, *, yes: bool, as_json: bool) -> int:
    """Let an account's events wait, or drop them, until it is resumed."""
    chosen, person, why = _mode(mode), who(by), read_reason(reason)
    with session() as opened:
        account = _account(opened, name)
        if not why:
            raise CommandError(
                WRONG,
                "--reason is missing: say why, as it is recorded in the audit and shown with the account",
            )
        if chosen is Mode.SHED and not yes:
            _ask(_seen(opened, account.name))
        before = Operation(opened.client, opened.keys).pause(account.name, chosen, by=person, why=why)
        write_down(
            opened, "pause", by=person, account=account.name, mode=chosen.value, reason=why, was=before.name
        )
    if as_json:
        write_json({"account": account.name, "state": chosen.state, "was": before.name})
    else:
        what = "its events wait" if chosen is Mode.WAIT else "its events are dropped and counted as shed"
        screen().print(
            f"{account.name} is {chosen.state} (was {before.name}): {what} until it is resumed",
            soft_wrap=True,
        )
    return DONE


def resume(name: str, reason: str, by: str, *, keep_going: bool, as_json: bool) -> int:
    """Resume an account; `keep_going`: no run of refusals stops it until it is resumed without that."""
    person, why = who(by), read_reason(reason)
    with session() as opened:
        account = _account(opened, name)
        operation = Operation(opened.client, opened.keys)
        before = operation.resume(account.name, keep_going_by=person if keep_going else "")
        write_down(
            opened,
            "resume",
            by=person,
            account=account.name,
            reason=why or None,
            was=before.name,
            code=before.code or None,
            keep_going=keep_going or None,
        )
    if as_json:
        going = {"keep_going": True} if keep_going else {}
        write_json({"account": account.name, "state": "running", "was": before.name} | going)
    else:
        on = (
            f", and a run of refused events will not stop it: {goes_on_until(account.name)}"
            if keep_going
            else ""
        )
        screen().print(f"{account.name} is running (was {before.name}){on}", soft_wrap=True)
    return DONE


def rate(name: str, text: str, reason: str, by: str, *, as_json: bool) -> int:
    """Let an account's rate group go slower than its settings say."""
    person, why = who(by), read_reason(reason)
    with session() as opened:
        account = _account(opened, name)
        wanted = _rate(text, account)
        before = Operation(opened.client, opened.keys).limit(account.rate_group, wanted, by=person, why=why)
        write_down(
            opened,
            "rate",
            by=person,
            account=account.name,
            group=account.rate_group,
            rate=wanted or DEFAULT,
            was=before or DEFAULT,
            reason=why or None,
        )
        group = sorted(
            other.name
            for other in opened.settings.accounts.values()
            if other.rate_group == account.rate_group
        )
    now = wanted or account.rate_limit
    if as_json:
        write_json({"accounts": group, "rate": now, "was": before or account.rate_limit})
    else:
        screen().print(
            f"{', '.join(group)}: at most {now:,} requests/s (was {before or account.rate_limit:,})",
            soft_wrap=True,
        )
    return DONE


def _account(opened: Session, name: str) -> Account:
    accounts = opened.settings.accounts
    if name not in accounts:
        raise CommandError(WRONG, no_such_account(plain(name), accounts))
    return accounts[name]


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        raise CommandError(
            WRONG,
            f"--mode {text[:40]!r} is unknown: use wait (events stay queued) or shed (they are dropped)",
        ) from None


def _rate(text: str, account: Account) -> int | None:
    if text == DEFAULT:
        return None
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= account.rate_limit:
        raise CommandError(
            WRONG,
            f"the rate must be 1 to {account.rate_limit} requests/s or {DEFAULT!r}, not {text[:40]!r}: "
            f"for more than {account.rate_limit}, raise RATE_LIMIT of {account.name} and restart the workers",
        )
    return int(text)


def _seen(opened: Session, name: str) -> AccountSnapshot:
    return next(seen for seen in opened.snapshots().read().accounts if seen.name == name)


def _ask(account: AccountSnapshot) -> None:
    """Ask before events are dropped, which can't be undone."""
    waiting = count(account.waiting, "waiting event")
    ask(
        f"Permanently drop {waiting} of {account.name}, and all that arrive until it is resumed?",
        unattended=f"shed would permanently drop {waiting} and all new ones: add --yes to do it",
        refused="nothing was changed",
    )
