"""The OTPs closed in the last hours, by account and country."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from tasks.keys import Keys
from tasks.keyspace import naming
from tasks.stored import integer, text
from tasks.tracking.otps import Country, countries_of

if TYPE_CHECKING:
    from redis import Redis

MOST = 49
"""Hours that can be read: each is kept for 50."""


def closed_in(client: Redis, keys: Keys, account: str, hours: int) -> Mapping[str, Country]:
    """Return the account's OTPs closed in the running hour and those before it, `hours` in all, by country.

    `redis.RedisError` when Redis is away, and for what is no number.
    """
    untyped: Any = client
    this = int(untyped.time()[0]) // 3600
    counts = Counter[str]()
    for hour in range(this - hours + 1, this + 1):
        key = keys.otps_of_hour(account, hour)
        with naming(key):
            found: Mapping[bytes, bytes] = untyped.hgetall(key)
        for field, value in found.items():
            if (count := integer(value)) is None:
                raise ResponseError(f"{text(field)!r} is no number ({key})")
            counts[text(field)] += count
    return countries_of(counts)
