"""The state of each account, shared by all workers through Redis."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from providers.base import Outcome
from tasks.admission import RateGroup
from tasks.keys import Keys
from tasks.script import Script

if TYPE_CHECKING:
    from redis.asyncio import Redis

PROBE_INTERVAL = 30.0
"""Seconds between two probes of a stopped account."""

ASK_AGAIN = 0.25
"""Seconds between two calls to slow one group down, however many answers say so."""

SLOWER = 0.7
LOWEST = 0.02
"""A throttled group steps down by this factor, not below this share of its limit."""


@dataclass(frozen=True, slots=True)
class State:
    """`running`, or `stopped` with the provider's code and message that stopped it."""

    name: str = "running"
    code: str = ""
    message: str = ""


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
        self._stop = Script("stop.lua")
        self._resume = Script("resume.lua")
        self._throttle = Script("throttle.lua")
        self._slowed: dict[str, float] = {}

    async def stop(self, account: str, outcome: Outcome) -> None:
        """Stop the account; its events wait, one at a time probes it."""
        arguments: list[str | int] = [outcome.code, outcome.message, self._probe_interval_ms]
        await self._stop.run(self._redis, [self._keys.account(account)], arguments)

    async def resume(self, account: str) -> None:
        """Let a stopped account run."""
        await self._resume.run(self._redis, [self._keys.account(account)], [])

    async def slow_down(self, account: str) -> None:
        """Step the account's rate group down; Redis does it once a second, and is asked little more often."""
        group = self._groups[account]
        now = time.monotonic()
        if now < self._slowed.get(group.name, -math.inf) + ASK_AGAIN:
            return
        self._slowed[group.name] = now
        arguments: list[str | int] = [group.limit, str(SLOWER), str(max(1.0, group.limit * LOWEST))]
        await self._throttle.run(self._redis, [self._keys.rate(group.name)], arguments)

    async def read(self) -> dict[str, State]:
        """Return the state of every account."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for account in self._groups:
                pipe.hmget(self._keys.account(account), ["state", "code", "message"])
            rows = await pipe.execute()
        return {account: _state(row) for account, row in zip(self._groups, rows, strict=True)}


def _state(row: list[bytes | None]) -> State:
    name, code, message = (value.decode() if value else "" for value in row)
    return State(name or "running", code, message)
