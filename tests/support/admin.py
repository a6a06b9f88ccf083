"""Redis' administration for tests: redis-py types these commands in part, here they are untyped."""

from typing import Any

import redis

OURS = "test"
"""The name of a test's own connections, where those of others are counted."""


def admin(client_or_port: redis.Redis | int) -> Any:
    """Return the client, or a new one to a port of 127.0.0.1 (a context manager), without types."""
    return redis.Redis(port=client_or_port) if isinstance(client_or_port, int) else client_or_port


BUSY = "for _ = 1, 2000000 do end"
"""Lua that keeps Redis busy for some 20 ms: its clock stands while a script runs."""


def cut_all(client: redis.Redis) -> int:
    """Close every connection but this one and return how many; calls are under way on those in use.

    A call takes Redis much less than a millisecond, so a cut alone would meet one by luck: both commands are read at
    once, and what is called while the first one runs is not read before it is cut.
    """
    pipeline = admin(client).pipeline(transaction=False)
    return int(pipeline.eval(BUSY, 0).execute_command("CLIENT", "KILL", "SKIPME", "yes").execute()[1])
