"""Redis URLs: what they are read as, and what they never show."""

from typing import Any

import pytest
from redis.connection import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from otpreport.address import UnknownOptionError, connection_pool, read
from otpreport.place import place, slug


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
    assert options["retry"]._retries == 0


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


def test_a_sentinels_port_may_be_left_out() -> None:
    """An IPv6 address has colons of its own, in brackets."""
    assert read("sentinel://[::1],[::2]:7,c/orders").sentinels == (("::1", 26379), ("::2", 7), ("c", 26379))


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
    ("theirs", "ours"),
    [
        ("valkey://u:p@db:1/2", "redis://u:p@db:1/2"),
        ("VALKEYS://db", "rediss://db"),
        (" redis://db/0\r\n", "redis://db/0"),
        ("redis+socket:///run/redis.sock?virtual_host=3", "unix:///run/redis.sock?db=3"),
        ("redis-socket:///run/redis.sock?database=3", "unix:///run/redis.sock?db=3"),
        ("redis-sentinel://:p@a:1,b/orders/4", "sentinel://:p@a:1,b/orders/4"),
        ("redis-sentinel://:p@a:1,b:2/4#orders", "sentinel://:p@a:1,b:2/orders/4"),
        ("redis-sentinel://a#orders", "sentinel://a/orders"),
        (
            "rediss-sentinel://a?ssl_cert_reqs=CERT_NONE#orders",
            "sentinel://a/orders?ssl_cert_reqs=none&ssl=true",
        ),
        ("rediss://db?ssl_cert_reqs=CERT_REQUIRED", "rediss://db?ssl_cert_reqs=required"),
        ("rediss://db?ssl_cert_reqs=ssl.CERT_NONE", "rediss://db?ssl_cert_reqs=none"),
        ("REDIS://:p@db", "redis://:p@db"),
        ('"redis://:p@db"', "redis://:p@db"),
        ("\ufeff'redis://:p@db'\r\n", "redis://:p@db"),
        ("redis+ssl://:p@db", "rediss://:p@db"),
        ("redis+tls://:p@db", "rediss://:p@db"),
        ("rediss://db/0?db=1&ssl_cert_reqs=None", "rediss://db/0?db=1&ssl_cert_reqs=none"),
    ],
)
def test_spellings_of_other_tools(theirs: str, ours: str) -> None:
    """What Celery, Lettuce, Valkey's clients and a secret's file write means the same here, and has the same spool."""
    assert read(theirs) == read(ours)
    assert (place(theirs), slug(theirs)) == (place(ours), slug(ours))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://db/0",
        "sentinel://a:1;sentinel://b:1",
        "redis-sentinel://:hunter#2@a/orders",
        "rediss://:hunter2@db?ssl_cert_reqs=CERT_MAYBE",
        "redis://:hunter/2@db:6379/0",
        "redis://:hunter2@db:port/0",
        "redis://:hunter2@db/0?socket_timeout=soon",
        "sentinel://:hunter2@s1",
        "sentinel://:hunter2@s1:port/orders",
        "sentinel://:hunter2@s1:99999/orders",
        "sentinel://:hunter2@s1:-1/orders",
        "sentinel://:hunter2@s1:0/orders",
        "sentinel://:hunter2@:26379/orders",
        "sentinel://:hunter2@,/orders",
        "sentinel://:hunter2@::1/orders",
        "sentinel://:hunter2@s1..svc/orders",
        "redis://:hunter2@",
        "redis://:hunter2@db:0/0",
        "redis://:hunter2@db..svc/0",
        "redis://:hunter2@db/0?db=-1",
        "redis://:hunter2@db/0?socket_timeout=0",
        "redis://:hunter2@db/0?socket_timeout=nan",
        "redis://:hunter2@db/0?socket_timeout=1e300",
        f"redis://:hunter2@db/0?health_check_interval={'9' * 400}",
        f"redis://:hunter2@db/{'9' * 5000}",
        f"redis://:hunter2@db:{'9' * 5000}/0",
        "rediss://:hunter2@db/0?ssl_min_version=0",
        f"rediss://:hunter2@db/0?ssl_min_version={'9' * 22}",
        "redis://:hunter2@db/0?hunter%202=1",
        "redis://:hunter2@db/0?socket_connect_timeout=-1",
        "redis://:pass?hunter=2@db/0",
        "redis://:hunter2@one,two:6379/0",
        "redis://:hunter2@${REDIS_HOST}:6379/0",
        "redis://:hunter2@$REDIS_HOST/0",
        "redis://:hunter2@{{ redis }}/0",
        "sentinel://:hunter2@$SENTINEL:26379/orders",
    ],
)
def test_wrong_url(url: str) -> None:
    """A wrong URL is refused in words that help and hold no part of the password."""
    with pytest.raises(ValueError, match="redis_url") as caught:
        connection_pool(url, timeout=2.0)
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "options",
    [
        "db=2",
        "username=u&password=p",
        "client_name=web",
        "health_check_interval=3",
        "socket_keepalive=no",
        "socket_timeout=0.2&socket_connect_timeout=1",
        "max_connections=9&timeout=3",
    ],
)
@pytest.mark.parametrize("place", ["redis://db", "sentinel://a/orders"])
def test_known_options(place: str, options: str) -> None:
    """What a connection may be told in its URL is taken."""
    read(f"{place}?{options}")


@pytest.mark.parametrize("option", ["ssl", "tls"])
def test_tls_as_an_option(option: str) -> None:
    """It is the scheme that asks for TLS, and the fault says so."""
    with pytest.raises(UnknownOptionError, match=f"option {option}: write rediss://"):
        read(f"redis://db?{option}=true")


@pytest.mark.parametrize(
    "option",
    [
        "decode_responses",
        "encoding",
        "encoding_errors",
        "protocol",
        "legacy_responses",
        "retry",
        "retry_on_error",
        "retry_on_timeout",
        "credential_provider",
        "redis_connect_func",
        "connection_class",
        "parser_class",
        "command_packer",
        "socket_type",
        "socket_keepalive_options",
        "socket_keepalive_intvl",
        "socket_read_size",
        "host",
        "port",
        "path",
        "sentinels",
        "max_age",
    ],
)
@pytest.mark.parametrize("place", ["redis://db/0", "rediss://db/0", "unix:///run/db", "sentinel://a/orders"])
def test_unknown_option(place: str, option: str) -> None:
    """An option that changes what answers look like, or that no text can be, is named, and its value is not."""
    with pytest.raises(ValueError, match=f"redis_url has the unknown option {option}: use one of") as caught:
        read(f"{place}?db=1&{option}=hunter2")
    assert "hunter" not in str(caught.value)
    read(f"{place}?db=1")


def test_a_password_that_is_cut_in_pieces() -> None:
    """What follows an ampersand in a password looks like an option, and is not shown."""
    with pytest.raises(ValueError, match="escape the password") as caught:
        read("redis://db:6379/0?password=ab&hunter2=x")
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://u:hunter2@db:6379/0?password=hunter2", "redis://u:hun@ter2@db:6379/0"]
)
def test_place(url: str) -> None:
    """What is shown, and what names the spool's file, holds no password."""
    assert place(url) == "redis://db:6379/0"
    assert slug(url) == slug("redis://db:6379/0")
    assert slug(url) != slug("redis://db:6379/1")
