"""The state of each account, shared by all workers through Redis."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from providers.base import Outcome
from tasks.keys import Keys
from tasks.limiter.admission import RateGroup
from tasks.queue.breaker import PROBE_INTERVAL
from tasks.script import Script
from tasks.shared import LONGEST_PAUSE_MS, PROBED, RAMP, RAMP_STEP_MS, REFUSED_RUN_CODE
from tasks.stored import integer, text

if TYPE_CHECKING:
    from redis.asyncio import Redis

ASK_AGAIN = 0.25
"""Minimum seconds between two calls to slow one group down; answers in between add none."""

SLOWER = 0.7
LOWEST = 0.02
"""A throttled group steps down by this factor, not below this share of its limit."""


LONGEST_PAUSE = LONGEST_PAUSE_MS / 1000
"""Seconds that a provider which throttles may ask a rate group to send nothing at all."""

STORED = {
    "": "running",
    "open": "circuit_open",
    "stopped": "refused",
    "held": "paused",
    "shed": "shedding",
}
"""The words that Redis and its scripts have for an account's state, and what the state is called everywhere else."""

WORDS = {name: word for word, name in STORED.items()}
"""Redis' word for each of these states."""

UNKNOWN = "unknown"
"""The state of an account for which Redis has another word, of a later version: it sends nothing."""

NAMES = ("running", "recovering", "circuit_open", "refused", "paused", "shedding", UNKNOWN)
"""The states of an account: its events go; they go at a part of its rate, which ramps up; its circuit breaker is open
and one event at a time probes the provider; the provider refuses the account, which is probed; an operator lets its
events wait, or has them dropped."""

TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    "calls fail": {"running": "circuit_open", "recovering": "circuit_open"},
    "events are refused in a row": {"running": "refused", "recovering": "refused"},
    "the account is refused": {"running": "refused", "recovering": "refused", "circuit_open": "refused"},
    "a probe is answered": {"circuit_open": "recovering"},
    "a probe is delivered": {"circuit_open": "recovering", "refused": "running"},
    "time passes": {"recovering": "running"},
    "an operator pauses": dict.fromkeys(NAMES, "paused"),
    "an operator sheds": dict.fromkeys(NAMES, "shedding"),
    "an operator resumes": dict.fromkeys(NAMES, "running"),
}
"""What happens to an account, and the state that follows each; in a state that is not named it changes nothing.

settle.lua (with breaker.lua), stop.lua, resume.lua and operate.lua are held to it by tests/integration/test_states.py.
"""

OPERATOR_STATES = frozenset({"paused", "shedding"})
"""The states that an operator chose."""

FLOWING = frozenset({"running", "recovering"})
"""The states in which an account's events are sent."""

PROBED_STATES = frozenset(STORED[word] for word in PROBED)
"""The states in which a probe may let an account run again."""

WAITING = frozenset(NAMES) - FLOWING - {"shedding"}
"""The states in which an account's events wait; more workers don't help."""


@dataclass(frozen=True, slots=True)
class State:
    """One of NAMES, since when (ms), the code and message of the cause, and the operator who set it.

    `refused` is the number of consecutive refused events where that stopped the account, else 0; `keep_going` is the
    operator who said that no such run may stop it.
    """

    name: str = "running"
    code: str = ""
    message: str = ""
    by: str = ""
    since_ms: int | None = None
    refused: int = 0
    keep_going: str = ""

    @classmethod
    def of(cls, fields: Sequence[str], now_ms: int) -> State:
        """Read the values of FIELDS, which are empty where not set."""
        stored, code, message, by, since, resumed, ramp_rate, run, keep_going = fields
        resumed_ms = integer(resumed)
        if not stored and ramp_rate and 0 <= now_ms - (resumed_ms or 0) < len(RAMP) * RAMP_STEP_MS:
            return cls("recovering", since_ms=resumed_ms, keep_going=keep_going)
        refused = (integer(run) or 0) if stored == "stopped" and code == REFUSED_RUN_CODE else 0
        return cls(STORED.get(stored, UNKNOWN), code, message, by, integer(since), refused, keep_going)

    @property
    def reason(self) -> str:
        """The code and the message, where set."""
        return ": ".join(word for word in (self.code, self.message) if word)

    def share(self, now_ms: int) -> float:
        """Return the share of its rate that the account may use: less than 1 only while it recovers."""
        if self.name != "recovering" or self.since_ms is None:
            return 1.0
        step = max(0, now_ms - self.since_ms) // RAMP_STEP_MS
        return RAMP[step] if step < len(RAMP) else 1.0


FIELDS = (
    "state",
    "code",
    "message",
    "by",
    "since_ms",
    "resumed_ms",
    "ramp_rate",
    "permanent_run",
    "keep_going",
)
"""The fields of an account's hash that make its state."""


class States:
    """Read and change the accounts' states; every call raises `redis.RedisError` when Redis is away."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        groups: Mapping[str, RateGroup],
        *,
        probe_interval: float = PROBE_INTERVAL,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._groups = groups
        self._probe_interval_ms = round(probe_interval * 1000)
        self._read = Script("accounts/read.lua")
        self._stop = Script("accounts/stop.lua")
        self._resume = Script("accounts/resume.lua")
        self._throttle = Script("accounts/throttle.lua")
        self._sooner = Script("accounts/sooner.lua")
        self._slowed: dict[str, float] = {}
        self.tracked: frozenset[str] = frozenset()
        """Accounts of which somebody told, when their states were last read, that OTPs were sent or verified."""

    async def stop(self, account: str, outcome: Outcome, seconds: float = 0.0) -> None:
        """Stop the account after a request that took `seconds`; its events wait, and one at a time probes it."""
        age_ms = round(seconds * 1000)
        arguments: list[str | int] = [outcome.code, outcome.message, self._probe_interval_ms, age_ms]
        await self._stop.run(self._redis, [self._keys.account(account)], arguments)

    async def resume(self, account: str, *, delivered: bool) -> None:
        """Let the account run: its probe was delivered, or answered with something else."""
        keys = [self._keys.account(account), self._keys.breaker(account)]
        await self._resume.run(self._redis, keys, [int(delivered), self._groups[account].limit])

    async def probe_now(self, account: str) -> None:
        """Let a refused account be probed at once, whenever its next probe was due: its keys have changed."""
        await self._sooner.run(self._redis, [self._keys.account(account)], [])

    async def slow_down(self, account: str, retry_after: float = 0.0) -> None:
        """Step the account's rate group down; Redis does it once a second, and is asked little more often."""
        group = self._groups[account]
        now = time.monotonic()
        if now < self._slowed.get(group.name, -math.inf) + ASK_AGAIN:
            return
        self._slowed[group.name] = now
        pause_ms = round(min(retry_after, LONGEST_PAUSE) * 1000)
        arguments: list[str | int] = [group.limit, str(SLOWER), str(max(1.0, group.limit * LOWEST)), pause_ms]
        await self._throttle.run(self._redis, [self._keys.rate(group.name)], arguments)

    async def read(self) -> dict[str, State]:
        """Return the states by account, without accounts whose key is not a hash; learn which are tracked."""
        keys = [self._keys.account(account) for account in self._groups]
        now_ms, *rows, tracked = await self._read.run(self._redis, keys, FIELDS)
        self.tracked = frozenset(map(bytes.decode, tracked))
        return {
            account: State.of([text(value) for value in row], now_ms)
            for account, row in zip(self._groups, rows, strict=True)
            if row
        }
