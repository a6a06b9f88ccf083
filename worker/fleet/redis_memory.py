"""How much memory Redis uses, and how much it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from redis import Redis


@dataclass(frozen=True, slots=True)
class RedisMemory:
    """Bytes used, and the limit: `maxmemory`, or without one all of its machine's memory."""

    used: int
    limit: int


def read_memory(client: Redis) -> RedisMemory | None:
    """Read it; None if the user lacks the right, redis.RedisError when Redis is away."""
    untyped: Any = client  # redis-py leaves this answer untyped
    try:
        info: dict[str, int] = untyped.info("memory")
    except ResponseError:
        return None
    limit = info.get("maxmemory") or info.get("total_system_memory") or 0
    return RedisMemory(info.get("used_memory", 0), limit)
