"""Detect that Redis lost data: it may come back empty, or with an older state."""

from __future__ import annotations

import secrets
from asyncio import Lock
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.keys import Keys
from tasks.queue.fitness import FORMAT, too_new
from tasks.script import Script
from tasks.stored import integer, leading, text

if TYPE_CHECKING:
    from redis.asyncio import Redis


REPORTED_FOR = 86_400.0
"""Seconds for which a loss is reported, so that the next shift sees it."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss of data in Redis: when it was found (ms), and the time of the data it came back with, None if empty.

    `operator_states` names the accounts that operators had paused or shed before, as a worker last saw them.
    """

    at_ms: int
    left_ms: int | None
    operator_states: str = ""

    def recent(self, now_ms: int) -> bool:
        """Whether it is recent enough to be reported."""
        return abs(now_ms - self.at_ms) < REPORTED_FOR * 1000

    @property
    def text(self) -> str:
        """What happened, and which operators' settings may be lost."""
        how = "empty" if self.left_ms is None else f"with data {(self.at_ms - self.left_ms) / 1000:.0f} s old"
        before = f" ({self.operator_states})" if self.operator_states else ""
        return f"Redis came back {how}: pauses and rate limits set by operators{before} may be lost"


@dataclass(frozen=True, slots=True)
class Memory:
    """The record of Redis' data: format, epoch, heartbeats counted in the epoch, the last loss that was found."""

    format: int = 0
    epoch: str = ""
    count: int = 0
    loss: Loss | None = None

    @classmethod
    def of(
        cls, format_: str, epoch: str, count: str, at_ms: str, left_ms: str, operator_states: str
    ) -> Memory:
        """Read the fields of `maintenance`, which are empty where not set."""
        found_ms = integer(at_ms)
        loss = None if found_ms is None else Loss(found_ms, integer(left_ms), operator_states)
        return cls(leading(format_), epoch, leading(count), loss)

    def lacks(self, seen: Memory) -> bool:
        """Whether this memory has lost what was seen before, judged as epoch.lua does."""
        if not seen.epoch:
            return False
        own, theirs = leading(self.epoch), leading(seen.epoch)
        return own < theirs or (own == theirs and (self.epoch != seen.epoch or self.count < seen.count))


class Heartbeat:
    """Send this worker's heartbeat to Redis every second, and detect when Redis has lost data."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = [keys.maintenance]
        self._script = Script("fleet/epoch.lua")
        self._seen = Memory()
        self._beat_ms = 0
        self._one_at_a_time = Lock()

    async def beat(self, operator_states: str = "") -> Loss | None:
        """Return what Redis lost since the last time, None for nothing.

        Raise Unfit where a newer version keeps it in another format, `redis.RedisError` when it is away.
        """
        async with self._one_at_a_time:
            seen = self._seen
            arguments: list[str | int] = [
                FORMAT,
                seen.epoch,
                seen.count,
                secrets.token_hex(8),
                operator_states,
            ]
            arguments.append(self._beat_ms)
            reply: list[bytes | int] = await self._script.run(self._redis, self._keys, arguments)
            if len(reply) == 1:
                raise too_new(int(reply[0]))
            self._seen = found = _memory(reply[:6])
            self._beat_ms = int(reply[6])
        return found.loss if seen.epoch not in {"", found.epoch} else None


def _memory(fields: Sequence[bytes | int]) -> Memory:
    return Memory.of(*(str(field) if isinstance(field, int) else text(field) for field in fields))
