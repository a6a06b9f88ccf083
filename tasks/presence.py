"""What a worker tells of itself through Redis, for people to look at; no decision hangs on it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson

from tasks.keys import Keys
from tasks.last_error import LastErrors
from tasks.script import Script

if TYPE_CHECKING:
    from redis.asyncio import Redis

KEPT = 600
"""Seconds that the word of a silent worker is kept."""

ERROR_KEPT = 7 * 86_400
"""Seconds that the last error of an account is kept."""


class Presence:
    """Tell Redis, in one call, how this worker is and which attempts failed."""

    def __init__(self, redis: Redis, keys: Keys, worker: str, errors: LastErrors) -> None:
        self._redis = redis
        self._keys = keys
        self._worker = worker
        self._errors = errors
        self._script = Script("presence.lua")

    async def tell(self, note: Mapping[str, object]) -> None:
        """Tell; redis.RedisError when Redis is away, and then the errors are told the next time."""
        errors = self._errors.take()
        keys = [self._keys.worker(self._worker), *(self._keys.last_error(account) for account in errors)]
        arguments: list[str | bytes | int] = [orjson.dumps(note), KEPT, ERROR_KEPT]
        now = time.monotonic()
        for error in errors.values():
            arguments += (round((now - error.at) * 1000), error.result, error.code, error.message)
        try:
            await self._script.run(self._redis, keys, arguments)
        except BaseException:
            self._errors.put_back(errors)
            raise
