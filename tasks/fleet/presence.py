"""What a worker announces about itself in Redis, for people; no decision depends on it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from tasks.fleet.deployment import Deployment, differences
from tasks.fleet.last_error import LastErrors
from tasks.keys import Keys
from tasks.script import Script
from tasks.stored import text

if TYPE_CHECKING:
    from redis.asyncio import Redis

NONE = Deployment({})

TTL = 600
"""Seconds that a silent worker's presence is kept."""

ERROR_TTL = 7 * 86_400
"""Seconds that the last error of an account is kept."""


class Presence:
    """Write this worker's state and its last failed attempts to Redis, in one call."""

    def __init__(self, redis: Redis, keys: Keys, worker: str, errors: LastErrors) -> None:
        self._redis = redis
        self._keys = keys
        self._worker = worker
        self._errors = errors
        self._script = Script("fleet/presence.lua")
        self._others: frozenset[str] = frozenset()
        self._known = True
        self.differences: Mapping[str, str] = {}
        """The differences between live workers' settings, by account."""

    async def announce(self, note: Mapping[str, object], deployment: Deployment = NONE) -> None:
        """Write the note; `redis.RedisError` when Redis is away: the errors are then written the next time.

        The accounts' settings are sent as a digest, and in full if Redis does not have it.
        """
        errors = self._errors.take()
        digest = deployment.digest
        keys = [self._keys.worker(self._worker), self._keys.deployments, self._keys.deployment(digest)]
        keys += [self._keys.last_error(account) for account in errors]
        accounts = {} if self._known else deployment.encode()
        arguments: list[str | bytes | int] = [orjson.dumps(note), TTL, ERROR_TTL, digest, len(accounts)]
        for name, settings in accounts.items():
            arguments += (name, settings)
        now = time.monotonic()
        for error in errors.values():
            arguments += (round((now - error.at) * 1000), error.result, error.code, error.message)
        try:
            unknown, *living = await self._script.run(self._redis, keys, arguments)
        except BaseException:
            self._errors.put_back(errors)
            raise
        self._known = unknown == b"0"
        await self._compare(deployment, frozenset(text(other) for other in living) - {digest})

    async def _compare(self, own: Deployment, others: frozenset[str]) -> None:
        """Read the other deployments' settings, if they are not those of the last time."""
        if others == self._others:
            return
        untyped: Any = self._redis
        read: list[dict[bytes, bytes]] = [
            await untyped.hgetall(self._keys.deployment(digest)) for digest in sorted(others)
        ]
        found = [Deployment.decode([word for pair in fields.items() for word in pair]) for fields in read]
        self.differences = differences([own, *found])
        if all(read):  # otherwise one has not written its accounts yet
            self._others = others
