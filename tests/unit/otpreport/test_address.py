"""Redis URLs: what they are read as, and what they never show."""

from typing import Any

import pytest
from redis.connection import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from otpreport.address import connection_pool, place, slug


def sentinel_pools(pool: SentinelConnectionPool) -> list[ConnectionPool]:
    """Return the pools of the clients that ask the sentinels; redis-py leaves them untyped."""
    untyped: Any = pool
    return [client.connection_pool for client in untyped.sentinel_manager.sentinels]


def test_redis() -> None:
    """User, password, database and options are read as redis-py reads them; nothing is retried."""
    pool = connection_pool("redis://web:s%2Fcret@db.example:6380/3?socket_keepalive=true", timeout=2.0)
    options = pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("db.example", 6380, 3)
    assert (options["username"], options["password"]) == ("web", "s/cret")
    assert options["socket_timeout"] == options["socket_connect_timeout"] == 2.0
    assert options["retry"].get_retries() == 0


def test_tls_and_unix() -> None:
    """`rediss://` speaks TLS with its options, `unix://` a socket file."""
    pool = connection_pool("rediss://db:6380/0?ssl_ca_certs=/ca.pem&ssl_certfile=/me.pem", timeout=2.0)
    assert pool.connection_class is SSLConnection
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
    assert (
        connection_pool("unix:///run/redis.sock", timeout=2.0).connection_class is UnixDomainSocketConnection
    )


def test_sentinel() -> None:
    """A sentinel URL names the sentinels, the service and what the master wants to hear."""
    pool = connection_pool("sentinel://web:pw@s1:1111,s2/orders/4?sentinel_password=spw", timeout=2.0)
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.connection_class is SentinelManagedConnection
    options = pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("web", "pw", 4)
    sentinels = [pool.connection_kwargs for pool in sentinel_pools(pool)]
    assert [(found["host"], found["port"]) for found in sentinels] == [("s1", 1111), ("s2", 26379)]
    assert [found["password"] for found in sentinels] == ["spw", "spw"]


def test_sentinel_with_tls() -> None:
    """`ssl=true` asks for TLS to the sentinels and the master, with the same certificates."""
    pool = connection_pool("sentinel://s1/orders?ssl=true&ssl_ca_certs=/ca.pem", timeout=2.0)
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.connection_class is SentinelManagedSSLConnection
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
    sentinel = sentinel_pools(pool)[0]
    assert sentinel.connection_class is SSLConnection
    assert sentinel.connection_kwargs["ssl_ca_certs"] == "/ca.pem"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://db/0",
        "redis://:hunter/2@db:6379/0",
        "redis://:hunter2@db:port/0",
        "redis://:hunter2@db/0?socket_timeout=soon",
        "sentinel://:hunter2@s1",
        "sentinel://:hunter2@s1:port/orders",
    ],
)
def test_wrong_url(url: str) -> None:
    """A wrong URL is refused in words that help and hold no part of the password."""
    with pytest.raises(ValueError, match="redis_url") as caught:
        connection_pool(url, timeout=2.0)
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["redis://u:hunter2@db:6379/0?password=hunter2", "redis://u:hun@ter2@db:6379/0"]
)
def test_place(url: str) -> None:
    """What is shown, and what names the spool's file, holds no password."""
    assert place(url) == "redis://db:6379/0"
    assert slug(url) == slug("redis://db:6379/0")
    assert slug(url) != slug("redis://db:6379/1")
