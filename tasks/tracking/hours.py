"""The OTPs closed in the last hours, by account and country."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tasks.keys import Keys
from tasks.keyspace import naming
from tasks.tracking.otps import Country

if TYPE_CHECKING:
    from redis import Redis

MOST = 49
"""Hours that can be read: each is kept for 50."""


def closed_in(client: Redis, keys: Keys, account: str, hours: int) -> Mapping[str, Country]:
    """Return the account's OTPs closed in the running hour and those before it, `hours` in all, by country.

    `redis.RedisError` when Redis is away.
    """
    untyped: Any = client
    this = int(untyped.time()[0]) // 3600
    counts: dict[str, list[int]] = {}
    for hour in range(this - hours + 1, this + 1):
        key = keys.otps_of_hour(account, hour)
        with naming(key):
            _add(counts, untyped.hgetall(key).items())
    return {code: Country(yes=yes, no=no) for code, (yes, no) in sorted(counts.items())}


def _add(counts: dict[str, list[int]], fields: Iterable[tuple[bytes | str, bytes | str]]) -> None:
    for field, value in fields:
        name = field.decode(errors="replace") if isinstance(field, bytes) else field
        code, _, word = name.partition(":")
        if word in {"yes", "no"}:
            counts.setdefault(code, [0, 0])[word == "no"] += int(value)
