"""The way from a started process to one that may work: Redis has to answer, and to be fit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from redis.exceptions import RedisError

from tasks.keys import Keys
from tasks.queue.fitness import check_fitness

if TYPE_CHECKING:
    from redis.asyncio import Redis

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
"""Seconds between two tries, doubled each time."""


class RedisMonitor(Protocol):
    """Receives the result of each try."""

    def redis(self, error: RedisError | OSError | None, **more: object) -> None:
        """Note that Redis can't be reached, or can."""
        ...


async def wait_for_redis(redis: Redis, keys: Keys, monitor: RedisMonitor, where: Mapping[str, str]) -> None:
    """Return once Redis answers, without a timeout; raise Unfit if it answers but is not fit.

    `where`: for the log, beside the fault.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            await check_fitness(redis, keys)
        except (RedisError, OSError) as error:
            monitor.redis(error, **where, retry_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
        else:
            monitor.redis(None)
            return
