"""Numbers and words that Python and the scripts share, or several scripts: only here, and put in front of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from otpreport.wire import NOTICES, PRIORITY_SUFFIXES
from tasks.countries import ISO

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

SEARCHED_AT_ONCE: Final = 16
"""Events, at most, that a search after a run of refusals takes at once, some of them from the newest end of a list."""

BUCKET_BITS: Final = 17
BUCKETS: Final = 2**BUCKET_BITS
"""Integer sets for the delivered events of one generation. Up to 512 members (the server's default) a set is stored as
an array of 8-byte numbers, so one generation holds 67 million events at about 9 bytes each."""

GENERATIONS: Final = 3
"""Generations of delivered events that exist and are looked at: the complete ones among them span DEDUPE_TTL."""

DEFAULT_WIDTH: Final = 43_200
"""Seconds of a generation at the default DEDUPE_TTL; workers of an earlier version, which note no width, may use it."""

SOON_MS: Final = 3 * 86_400_000
"""Ms before a dead letter's removal for its age in which it is counted as ending, where a tenth of its time is more."""

ALIVE_MS: Final = 10_000
"""Ms since its last presence announcement for which the settings of a worker are compared with those of others."""

MOST_DEPLOYMENTS: Final = 10
"""Different settings of running workers that are read, at most."""

LONGEST_NAME: Final = 64
"""Bytes of an account's name that is shown; a longer one in Redis is cut or left out."""

NO_SLOT: Final = -1000
"""admit.lua's answers from here down: no slot yet, ask again in (NO_SLOT - answer) ms."""

NO_PERMIT: Final = NO_SLOT - 40
"""admit.lua's answer where too many requests are in flight: ask again in 40 ms, or as soon as one of one's own ends."""

REFUSALS: Final[Mapping[str, int]] = {
    "LEASE_LOST": -1,
    "DUPLICATE": -2,
    "NOT_RUNNING": -3,
    "COPY_IN_FLIGHT": -4,
    "KEY_UNUSABLE": -5,
}
"""admit.lua's answers for an event that may not be sent; `Refusal` says what they mean."""

PROBED: Final = frozenset({"open", "stopped"})
"""Redis' words for the states in which an account's events wait and a probe may end it."""

LOW: Final = 2**43
"""Ms, some 280 years: the reports that come after all others stand in the schedule at their time plus this."""

REFUSED_LETTERS: Final = 1000
"""Dead letters of an account's reports of OTPs not verified that are kept, at most."""

AUTOMATIC: Final = '"automatic":true'
"""What is in the message of such a report that the tracker made."""

EPOCH: Final = 1_767_225_600
LIVES: Final = 8192
FLAGS: Final = 2048
SHIFT: Final = 2**20
HALF: Final = 2**19
"""How track.lua packs an OTP into a score, as it says at its top; EPOCH is the year 2026 in UNIX seconds."""

LATENCIES: Final = (5, 10, 20, 30, 60, 120, 300, 600)
"""Upper bounds in seconds of the histogram of the time from sent to verified."""

REFUSED_RUN_CODE: Final = "permanent_run"
"""The code of an account that stopped because event after event was refused, and is searched for one that is taken."""

Value = int | float | str | tuple[float | str, ...] | frozenset[str]

SHARED: Mapping[str, Value] = {
    **REFUSALS,
    "AUTOMATIC": AUTOMATIC,
    "ALIVE_MS": ALIVE_MS,
    "BUCKETS": BUCKETS,
    "CLIMB": CLIMB,
    "COUNTRIES": " ".join(ISO),
    "DEFAULT_WIDTH": DEFAULT_WIDTH,
    "EPOCH": EPOCH,
    "FLAGS": FLAGS,
    "GENERATIONS": GENERATIONS,
    "HALF": HALF,
    "LATENCIES": LATENCIES,
    "LIVES": LIVES,
    "LONGEST_NAME": LONGEST_NAME,
    "LONGEST_PAUSE_MS": LONGEST_PAUSE_MS,
    "LOW": LOW,
    "MAX_BYTES": MAX_BYTES,
    "MOST_DEPLOYMENTS": MOST_DEPLOYMENTS,
    "NO_PERMIT": NO_PERMIT,
    "NO_SLOT": NO_SLOT,
    "NOTICES": NOTICES,
    "PRIORITY_SUFFIXES": PRIORITY_SUFFIXES,
    "PROBED": PROBED,
    "RAMP": RAMP,
    "RAMP_STEP_MS": RAMP_STEP_MS,
    "REFUSED_LETTERS": REFUSED_LETTERS,
    "REFUSED_RUN_CODE": REFUSED_RUN_CODE,
    "SEARCHED_AT_ONCE": SEARCHED_AT_ONCE,
    "SHIFT": SHIFT,
    "SOLITARY_DEATHS": SOLITARY_DEATHS,
    "SOON_MS": SOON_MS,
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
