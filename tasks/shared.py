"""Numbers and words that Python and the scripts share: written here alone, and put in front of the scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from otpreport.wire import PRIORITY_SUFFIXES

MAX_BYTES: Final = 64 * 1024
"""Of a message: one that is longer is a dead letter."""

SUSPECT_DEATHS: Final = 2
"""An event that so many workers died with is leased alone."""

SOLITARY_DEATHS: Final = 3
"""An event that killed its worker so often while leased alone is poison."""

RAMP: Final = (0.01, 0.1, 0.5)
RAMP_STEP_MS: Final = 5000
"""An account whose breaker closed takes so large a share of its rate, for so many ms each."""

CLIMB: Final = 0.00006
"""How steeply a throttled rate climbs: this share of the configured rate, per second cubed (RFC 9438)."""

LONGEST_PAUSE_MS: Final = 60_000
"""For so long a provider may ask a rate group to send nothing; a probe in a long outage comes as often at least."""

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
"""By the name under which scripts use them; a set is a table whose members are true."""


def prelude(script: str) -> str:
    """Return the Lua that defines what a script names of these, in one line, so that lines keep their numbers."""
    named = sorted(SHARED.keys() & set(re.findall(r"\b[A-Z][A-Z_]+\b", script)))
    if not named:
        return ""
    return f"local {', '.join(named)} = {', '.join(literal(SHARED[name]) for name in named)} "


def literal(value: Value) -> str:
    """Return a value as Lua reads it."""
    match value:
        case str():
            return '"' + "".join(c if c.isalnum() or c == "_" else f"\\{ord(c):03}" for c in value) + '"'
        case tuple():
            return "{" + ", ".join(map(literal, value)) + "}"
        case frozenset():
            return "{" + ", ".join(f"{word} = true" for word in sorted(value)) + "}"
        case _:
            return repr(value)
