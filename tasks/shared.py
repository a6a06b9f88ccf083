"""Numbers and words that Python and the scripts share: written here alone, and put in front of the scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from otpreport.wire import PRIORITY_SUFFIXES

MAX_BYTES: Final = 64 * 1024
"""Bytes of a message; a longer one becomes a dead letter."""

SUSPECT_DEATHS: Final = 2
"""Deaths of its worker after which an event is leased alone."""

SOLITARY_DEATHS: Final = 3
"""Deaths of its worker, while leased alone, after which an event is poison."""

RAMP: Final = (0.01, 0.1, 0.5)
RAMP_STEP_MS: Final = 5000
"""The shares of its rate that an account may use after its breaker closed, one for each step of RAMP_STEP_MS."""

CLIMB: Final = 0.00006
"""How steeply a throttled rate climbs: this share of the configured rate, per second cubed (RFC 9438)."""

LONGEST_PAUSE_MS: Final = 60_000
"""The longest pause of a rate group that a provider may ask for, and the longest interval of probes in an outage."""

PROBED: Final = frozenset({"open", "stopped"})
"""Redis' words for the states in which an account's events wait and a probe may end it."""

Value = int | float | str | tuple[float | str, ...] | frozenset[str]

SHARED: Mapping[str, Value] = {
    "CLIMB": CLIMB,
    "LONGEST_PAUSE_MS": LONGEST_PAUSE_MS,
    "MAX_BYTES": MAX_BYTES,
    "PRIORITY_SUFFIXES": PRIORITY_SUFFIXES,
    "PROBED": PROBED,
    "RAMP": RAMP,
    "RAMP_STEP_MS": RAMP_STEP_MS,
    "SOLITARY_DEATHS": SOLITARY_DEATHS,
    "SUSPECT_DEATHS": SUSPECT_DEATHS,
}
"""By their names in the scripts; a set is a table whose members are true."""


def prelude(script: str) -> str:
    """Return the Lua that defines the names a script uses, in one line, so that line numbers stay."""
    named = sorted(SHARED.keys() & set(re.findall(r"\b[A-Z][A-Z_]+\b", script)))
    if not named:
        return ""
    return f"local {', '.join(named)} = {', '.join(literal(SHARED[name]) for name in named)} "


def literal(value: Value) -> str:
    """Return a value as Lua source."""
    match value:
        case str():
            return '"' + "".join(c if c.isalnum() or c == "_" else f"\\{ord(c):03}" for c in value) + '"'
        case tuple():
            return "{" + ", ".join(map(literal, value)) + "}"
        case frozenset():
            return "{" + ", ".join(f"{word} = true" for word in sorted(value)) + "}"
        case _:
            return repr(value)
