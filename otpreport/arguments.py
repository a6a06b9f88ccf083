"""What a Reporter takes, its arguments and its events; what is wrong with one is said in a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otpreport.event import Dispatch, Verification, is_account

_LONGEST_TIMEOUT = 30.0
"""Seconds; more is most likely meant as milliseconds."""


def check_arguments(
    redis_url: object, spool: object, timeout: object, key_prefix: object, spool_limit: object
) -> None:
    """Raise ValueError in one line for what an unset variable, or another unit, makes of an argument."""
    if redis_url is None:
        raise ValueError("redis_url is None: give Redis' URL, for example redis://localhost:6379/0")
    for name, value in (("redis_url", redis_url), ("key_prefix", key_prefix)):
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a string, not {type(value).__name__}")
    if spool is True or spool == "":
        raise ValueError("spool must be a file, False for none, or None for one in the user's state folder")
    if not (isinstance(timeout, int | float) and 0 < timeout <= _LONGEST_TIMEOUT):
        raise ValueError(
            f"timeout must be a number of seconds, more than 0 and at most {_LONGEST_TIMEOUT:.0f}, not {timeout!r}: "
            "0.05 is 50 ms"
        )
    if not (isinstance(spool_limit, int) and spool_limit > 0):
        raise ValueError(f"spool_limit must be a positive number of events, not {spool_limit!r}")


def check(event: object, accounts: Sequence[str] | None = None, *, tracking: bool = False) -> None:
    """Raise TypeError for anything but an event, ValueError for one that a reporter made like this does not take."""
    if not isinstance(event, Verification):
        if not isinstance(event, Dispatch):
            raise TypeError(f"expected a Verification or a Dispatch, not {type(event).__name__}")
        if not tracking:
            raise ValueError("a Dispatch needs a reporter with tracking=True")
    if accounts is not None and event.account not in accounts:
        raise ValueError(_no_such_account(event.account, accounts))


def checked_tracking(tracking: object) -> bool:
    """Return whether a reporter takes a Dispatch; ValueError for what is neither True nor False."""
    if not isinstance(tracking, bool):
        raise ValueError(f"tracking must be True or False, not {tracking!r}")
    return tracking


def checked_accounts(accounts: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the accounts that a reporter takes, None for all; ValueError for what can't be any."""
    if accounts is None:
        return None
    names = [accounts] if isinstance(accounts, str) else list(accounts)
    if isinstance(accounts, str) or not names:
        raise ValueError(f"accounts must be a list of names, like ['tencent', 'alibaba'], not {accounts!r}")
    for name in names:
        if not is_account(name):
            raise ValueError(f"accounts: {name!r} is no account's name: use 1 to 64 of a-z, 0-9, _ and -")
    return tuple(sorted(names))  # no set: an event made invalid may have an account that can't be in one


def _no_such_account(name: object, accounts: Sequence[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - a right event does not need it

    near = get_close_matches(str(name), accounts, n=1)
    fix = f"did you mean {near[0]}?" if near else f"use one of {', '.join(accounts)}"
    return f"account: {str(name)[:64]} is none of this reporter's accounts: {fix}"
