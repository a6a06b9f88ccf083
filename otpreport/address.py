"""Where Redis is: a URL read into what redis-py's connections are made with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis.connection
import redis.sentinel
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError
from redis.retry import Retry

_SENTINEL_PORT = 26379
_SCHEMES = ("redis://", "rediss://", "unix://", "sentinel://")
_SENTINEL_OWN = ("sentinel_username", "sentinel_password")
_OF_POOLS = ("connection_class", "max_connections", "timeout")
"""What a URL may hold and we decide ourselves."""

# redis-py leaves these signatures untyped.
_connection: Any = redis.connection
_sentinel: Any = redis.sentinel


@dataclass(frozen=True, slots=True)
class Address:
    """A URL as read; `options` are redis-py's of one connection, `repr` shows none of them.

    With `sentinels` these are asked for the master of `service`, and `options` hold no host.
    """

    options: Mapping[str, object] = field(repr=False)
    tls: bool = False
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_options: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)

    @property
    def unix(self) -> bool:
        """Whether Redis listens on a socket file."""
        return "path" in self.options


def read(url: str) -> Address:
    """Read a Redis URL; ValueError, without the password, for a wrong one.

    Besides redis-py's `redis://`, `rediss://` and `unix://` it reads
    `sentinel://[user:password@]host1:port,host2:port/service[/db][?options]`. User and password are Redis';
    `sentinel_username` and `sentinel_password` are the sentinels' own, `ssl=true` asks for TLS to both, and
    redis-py's options (`ssl_ca_certs`, ...) work as in the other forms.
    """
    try:
        found = _read_sentinel(url) if url.startswith("sentinel://") else _read_plain(url)
        kind = _connection.SSLConnection if found.tls else _connection.Connection
        (_connection.UnixDomainSocketConnection if found.unix else kind)(**found.options)
    except (ValueError, TypeError, RedisError):
        # The parser's own message is not passed on: an unescaped password confuses it, and it quotes that.
        raise ValueError(f"redis_url cannot be read: {_mend(url)}") from None
    return found


def connection_pool(url: str, *, timeout: float) -> ConnectionPool:
    """Return a pool for a URL that `read` can read, without connecting.

    `timeout` is in seconds, for connecting and for each answer; redis-py's retries are off.
    """
    address = read(url)
    options: dict[str, object] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        # RESP2 needs no HELLO: one round trip less, and every server speaks it.
        "protocol": 2,
    }
    if address.sentinels:
        return _sentinel_pool(address, options)
    kind = _connection.SSLConnection if address.tls else _connection.Connection
    kind = _connection.UnixDomainSocketConnection if address.unix else kind
    return cast("ConnectionPool", _connection.ConnectionPool(kind, **{**options, **address.options}))


def place(url: str) -> str:
    """Return the URL without user, password and options: safe to show."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def slug(url: str) -> str:
    """Return a file name for the place, the same for every user and password."""
    shown = place(url)
    digest = hashlib.sha256(shown.encode()).hexdigest()[:8]
    return f"{re.sub('[^A-Za-z0-9.]+', '-', shown)[:60]}-{digest}"


def _mend(url: str) -> str:
    if not url.startswith(_SCHEMES):
        return "it must start with redis://, rediss://, unix:// or sentinel://"
    if url.startswith("sentinel://"):
        return "it must read sentinel://[user:password@]host:port,host:port/service[/db][?options]"
    return "check the port, the database and the options, and escape the password (urllib.parse.quote)"


def _read_plain(url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        usable = bool(parts.path)
    else:
        usable = re.fullmatch(r"/?|/[0-9]{1,5}/?", parts.path, re.ASCII) is not None and not parts.fragment
    if not usable:
        raise ValueError("no database")
    return Address(_options(url), tls=parts.scheme == "rediss")


def _read_sentinel(url: str) -> Address:
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not hosts or not re.fullmatch(r"[0-9]{0,5}", database, re.ASCII) or parts.fragment:
        raise ValueError("no host, no service or no database")
    query = dict(parse_qsl(parts.query))
    own = {name.removeprefix("sentinel_"): query.pop(name) for name in _SENTINEL_OWN if name in query}
    tls = query.pop("ssl", "false").lower() in {"1", "true", "yes"}
    user = f"{credentials}@" if credentials else ""
    # redis-py reads user, password, database and options, as in a plain URL
    options = _options(f"redis{'s' * tls}://{user}sentinel/{database}?{urlencode(query)}")
    return Address(
        {name: value for name, value in options.items() if name != "host"},
        tls=tls,
        sentinels=tuple(_host_and_port(host) for host in hosts.split(",")),
        service=service,
        sentinel_options={name: value for name, value in options.items() if name.startswith("ssl_")} | own,
    )


def _options(url: str) -> dict[str, object]:
    found = cast("dict[str, object]", _connection.parse_url(url))
    return {name: value for name, value in found.items() if name not in _OF_POOLS}


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if colon else (port, _SENTINEL_PORT)


def _sentinel_pool(address: Address, options: Mapping[str, object]) -> ConnectionPool:
    sentinel = _sentinel.Sentinel(
        address.sentinels, sentinel_kwargs={**options, **address.sentinel_options, "ssl": address.tls}
    )
    own = {**options, **address.options}
    pool = _sentinel.SentinelConnectionPool(address.service, sentinel, **own, ssl=address.tls)
    return cast("ConnectionPool", pool)
