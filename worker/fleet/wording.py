"""Numbers, times and states in words, as the command line, the page and the checks say them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.fleet.snapshot import AccountSnapshot

_LATEST_MS = 253_402_300_799_000
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def plain(text: str) -> str:
    r"""Return text from outside without anything that steers a terminal: such characters read \x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def number(value: float) -> str:
    """Return a number as people read it: 12,345."""
    return f"{value:,.0f}"


def moment(ms: int) -> str:
    """Return a time, UTC to the second."""
    return f"{_utc(ms):%Y-%m-%d %H:%M:%S}"


def iso(ms: int | None) -> str | None:
    """Return a time for a script, to the millisecond."""
    if ms is None:
        return None
    return _utc(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utc(ms: float) -> datetime:
    """Return a time in UNIX ms; what no calendar holds becomes the year 1970 or 9999."""
    return datetime.fromtimestamp(min(max(ms, 0), _LATEST_MS) / 1000, UTC)


def span(seconds: float) -> str:
    """Return a duration in its two greatest units: 1d 3h, 5m 2s, 0.4s."""
    if seconds < 60:
        return f"{seconds:.1f}s" if 0 < seconds < 10 else f"{seconds:.0f}s"
    for i, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            smaller, name = _UNITS[i + 1] if i + 1 < len(_UNITS) else (1, "s")
            rest = int(seconds % size / smaller)
            return f"{int(seconds / size)}{unit} {rest}{name}" if rest else f"{int(seconds / size)}{unit}"
    raise AssertionError(seconds)


def count(value: int, noun: str) -> str:
    """Return `1 dead letter`, `12,345 dead letters`."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def waiting(value: int, noun: str = "event") -> str:
    """Return `1 event waits`, `12,345 events wait`."""
    return f"{count(value, noun)} {'waits' if value == 1 else 'wait'}"


STATE_PHRASES = {
    "running": "is running",
    "recovering": "is recovering",
    "circuit_open": "has its circuit breaker open",
    "refused": "is refused by its provider",
    "paused": "is paused",
    "shedding": "is shedding its events",
    "unknown": "is in a state unknown to this version",
}
"""Each state of an account, in a sentence after its name."""


def why_not_running(account: AccountSnapshot) -> str:
    """Return what keeps an account from running, and since when."""
    state = account.state
    since = f" since {moment(state.since_ms)} UTC" if state.since_ms is not None else ""
    by = f" by {state.by}" if state.by else ""
    return f"{account.name} {STATE_PHRASES[state.name]}{by}{since}" + (
        f": {state.reason}" if state.reason else ""
    )


def keeps_going(account: AccountSnapshot) -> str:
    """Return that no run of refused events stops an account, who ordered it, and what ends it."""
    by = account.state.keep_going
    return f"{account.name} keeps going despite refused events, by {by}: {goes_on_until(account.name)}"


def goes_on_until(name: str) -> str:
    """Return what ends --keep-going."""
    return f"until `accounts resume {name}` without --keep-going"
