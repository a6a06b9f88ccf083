"""The queue of an account that no worker knows, usually a misspelt one: look at it, and drop what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from tasks.body import message_ids
from tasks.keys import Keys
from tasks.script import text_of

if TYPE_CHECKING:
    from redis import Redis

PAGE = 1000
"""Messages dropped in one call."""


class UnservedQueue:
    """An account's messages that nothing has taken; every call raises `redis.RedisError` when Redis is away."""

    def __init__(self, client: Redis, keys: Keys, account: str) -> None:
        self._client = client
        self._keys = keys
        self._account = account
        self._drop_script = client.register_script(text_of("queue/unserved.lua"))

    def lengths(self) -> Mapping[str, int]:
        """Return how many messages each of its lists has, without empty ones."""
        untyped: Any = self._client
        lengths = {key: int(untyped.llen(key)) for key in self._keys.ready(self._account)}
        return {key: length for key, length in lengths.items() if length}

    def ends(self, key: str) -> tuple[str, str]:
        """Return the message ids of the oldest and of the newest message of a list, as far as they can be read."""
        untyped: Any = self._client
        found: list[bytes | None] = [untyped.lindex(key, place) for place in (-1, 0)]
        oldest, newest = (", ".join(sorted(message_ids(raw))) if raw else "" for raw in found)
        return oldest, newest

    def drop(self, lengths: Mapping[str, int]) -> Iterator[int]:
        """Drop the oldest messages, as many of each list; yield how many after each call."""
        for key, length in lengths.items():
            left = length
            while left > 0:
                dropped = cast("int", self._drop_script([key], [min(PAGE, left)]))
                if not dropped:
                    break
                left -= dropped
                yield dropped
