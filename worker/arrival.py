"""The way from a started process to one that may work: Redis has to answer, and to be fit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from otpreport.scheme import wrong_scheme
from tasks.keys import Keys
from tasks.queue.fitness import check_fitness

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from otpreport.address import Address

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
"""Seconds between two tries, doubled each time."""


class RedisMonitor(Protocol):
    """Receives the result of each try."""

    def redis(self, error: RedisError | OSError | None, **more: object) -> None:
        """Note that Redis can't be reached, or can."""
        ...


async def wait_for_redis(
    redis: Redis, keys: Keys, monitor: RedisMonitor, where: Mapping[str, str], address: Address
) -> None:
    """Return once Redis answers, without a timeout; raise Unfit if it answers but is not fit.

    `where`: for the log, beside the fault.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            await check_fitness(redis, keys)
        except (RedisError, OSError) as error:
            monitor.redis(await _explained(error, address), **where, retry_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
        else:
            monitor.redis(None)
            return


async def _explained(error: RedisError | OSError, address: Address) -> RedisError | OSError:
    """Return what to correct in the URL, if that is the fault, else the error."""
    if not isinstance(error, RedisError):
        return error
    wrong = await asyncio.to_thread(wrong_scheme, address, error)
    return RedisConnectionError(wrong) if wrong else error
