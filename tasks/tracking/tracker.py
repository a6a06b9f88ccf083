"""Follow the OTPs that apps tell of: note what was sent and verified, and close what was not in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError, ResponseError

from tasks.dedupe import Remembered
from tasks.keys import Keys
from tasks.script import Script, ignore

if TYPE_CHECKING:
    from redis.asyncio import Redis

PAUSE = 0.5
"""Seconds between two calls, or between two looks whether an account is tracked: what comes meanwhile fills a call."""

BUSY = 0.1
"""The same where there are more accounts than one call looks at."""

SPARING = 3.0
"""A call that leaves enough for another is followed by it after so many times what it took, BUSY at most."""

NOTICES = 100
CLOSINGS = 100
"""Most that one call takes, and a quarter of the closings beside notices: it keeps Redis for about 1 ms."""

ACCOUNTS = 50
"""Accounts in one call."""

BACKLOG_SECONDS = 60
BACKLOG = 20_000
"""Reports of OTPs not verified that wait in an account's queue, or for another try: those of a minute at its rate, this
many at most."""


@dataclass(frozen=True, slots=True)
class Times:
    """In seconds: how long after its end an OTP closes, and what is more.

    `watch`: nothing closes for so long after a `gap` in which nobody looked. `early`: how long a verified OTP waits for
    the notice that it was sent.
    """

    grace: int = 60
    watch: int = 60
    gap: int = 10
    early: int = 900


@dataclass(frozen=True, slots=True)
class Negatives:
    """Whether and how OTPs that were not verified are reported.

    `most` may wait at once, None: none is reported. `deadline` is in seconds after the sending, None: there is none.
    """

    most: int | None = None
    deadline: float | None = None

    @classmethod
    def at(cls, rate_limit: int, deadline: float | None) -> Negatives:
        """Return those of an account whose provider takes so many reports a second."""
        return cls(min(BACKLOG, BACKLOG_SECONDS * rate_limit), deadline)


NEVER = Negatives()


@dataclass(frozen=True, slots=True)
class Tracked:
    """What one call did; `more`: it left enough for another."""

    noted: int = 0
    closed: int = 0
    more: bool = False


class Tracker:
    """One worker's share of the tracking; it keeps nothing, so any number of workers may do the same.

    `accounts` returns those to look at now.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        negatives: Mapping[str, Negatives],
        accounts: Callable[[], Collection[str]],
        *,
        remembered: Remembered,
        times: Times = Times(),
        on_faults: Callable[[Sequence[str]], None] = ignore,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._negatives = negatives
        self._accounts = accounts
        self._width = remembered.width
        self._times = times
        self._on_faults = on_faults
        self._script = Script("tracking/track.lua")
        self._turn = 0

    async def run(self) -> None:
        """Track until cancelled; while Redis is away, and the engine says so, wait."""
        while True:
            began, accounts = time.monotonic(), self._accounts()
            try:
                tracked = await self.track(accounts)
            except ResponseError as error:
                self._on_faults([f"track.lua: {error}"])
                tracked = Tracked()
            except (RedisError, OSError):
                tracked = Tracked()
            if tracked.more:
                pause = min(BUSY, SPARING * (time.monotonic() - began))
            else:
                pause = BUSY if len(accounts) > ACCOUNTS else PAUSE
            await asyncio.sleep(pause)

    async def track(self, accounts: Collection[str]) -> Tracked:
        """Note and close for these accounts, as much as one call may; another one goes first each time."""
        if not accounts:
            return Tracked()
        times = self._times
        arguments: list[str | int] = [self._keys.prefix, NOTICES, CLOSINGS, self._width]
        arguments += (times.grace, times.watch, times.gap, times.early)
        for account in self._next(sorted(accounts)):
            negatives = self._negatives.get(account, NEVER)
            arguments += (
                account,
                -1 if negatives.most is None else negatives.most,
                int(negatives.deadline or 0),
            )
        noted, closed, more, faults = await self._script.run(self._redis, [], arguments)
        if faults:
            self._on_faults([fault.decode(errors="backslashreplace") for fault in faults])
        return Tracked(noted, closed, bool(more))

    def _next(self, accounts: list[str]) -> list[str]:
        self._turn = (self._turn + min(ACCOUNTS, len(accounts) - 1)) % len(accounts) if accounts[1:] else 0
        return (accounts[self._turn :] + accounts[: self._turn])[:ACCOUNTS]
