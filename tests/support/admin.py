"""Redis' administration for tests: redis-py types these commands in part, here they are untyped."""

from typing import Any

import redis

OURS = "test"
"""The name of a test's own connections, where those of others are counted."""


def admin(client_or_port: redis.Redis | int) -> Any:
    """Return the client, or a new one to a port of 127.0.0.1 (a context manager), without types."""
    return redis.Redis(port=client_or_port) if isinstance(client_or_port, int) else client_or_port
