"""How long dead letters are kept: for a time, up to a number, and within a share of Redis' memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import NoPermissionError

from tasks.keys import Keys
from tasks.script import Script

if TYPE_CHECKING:
    from redis.asyncio import Redis

DAY = 86_400.0

BOUNDS = ("age", "count", "memory")
"""Why letters are removed: they are too old, too many, or too large."""

SHARE = 1 / 3
"""The part of Redis' `maxmemory` that the dead letters of all accounts may take together."""

AT_ONCE, CALLS = 300, 50
"""Letters looked at in one call, and calls one after another at most: others wait for maintenance, too."""

PAUSE = 5.0
"""Seconds between two checks, by any worker."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How old a dead letter may get, in seconds, and how many an account may have."""

    age: float = 30 * DAY
    count: int = 1_000_000


Removed = Callable[[str, str, int], None]
"""Called with the account, one of BOUNDS, and how many letters were removed for it."""


def ignore(account: str, bound: str, letters: int) -> None:
    """Ignore removed letters."""


class Keeper:
    """Remove letters beyond the bounds; every call raises `redis.RedisError` when Redis is away."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        accounts: Sequence[str],
        bounds: Bounds,
        on_removed: Removed,
        *,
        on_faults: Callable[[Sequence[str]], None],
        pause: float = PAUSE,
    ) -> None:
        self._redis = redis
        self._keys = [keys.maintenance, keys.dead_reasons, keys.books]
        self._prefix = keys.prefix
        self._accounts = accounts
        self._bounds = bounds
        self._on_removed = on_removed
        self._on_faults = on_faults
        self._pause_ms = round(pause * 1000)
        self._script = Script("dead_letters/keep.lua")

    async def keep(self) -> None:
        """Remove letters beyond the bounds, in small steps; no-op if any worker did so within PAUSE seconds."""
        memory = round(await self._maxmemory() * SHARE)
        for number in range(CALLS):
            arguments: list[str | int] = [
                self._prefix,
                round(self._bounds.age * 1000),
                self._bounds.count,
                memory,
                AT_ONCE,
                int(number > 0),
                self._pause_ms,
                *self._accounts,
            ]
            more, faults, *rows = await self._script.run(self._redis, self._keys, arguments)
            if faults:
                self._on_faults([fault.decode(errors="backslashreplace") for fault in faults])
            self._report_removed(rows)
            if not more:
                break

    def _report_removed(self, rows: Sequence[bytes | int]) -> None:
        for i in range(0, len(rows), 1 + len(BOUNDS)):
            account, *numbers = rows[i : i + 1 + len(BOUNDS)]
            for bound, number in zip(BOUNDS, cast("list[int]", numbers), strict=True):
                if number:
                    self._on_removed(cast("bytes", account).decode(errors="backslashreplace"), bound, number)

    async def _maxmemory(self) -> int:
        """Return Redis' `maxmemory` in bytes; 0 if unlimited, or if our user lacks the right to ask."""
        untyped: Any = self._redis  # redis-py leaves this answer untyped
        try:
            return int((await untyped.info("memory")).get("maxmemory", 0))
        except NoPermissionError:
            return 0
