"""Redis connections of the asyncio half."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

TIMEOUT = 5.0
"""Seconds a command may take."""


def connect(url: str) -> Redis:
    """Return a client for `url`; a command that fails is not repeated by the client but by who knows what it does."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=4,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        socket_keepalive=True,
        health_check_interval=10,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis(connection_pool=pool)
