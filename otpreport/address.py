"""Parse a Redis URL into arguments of redis-py's connections."""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

import redis.connection
import redis.sentinel
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError
from redis.retry import Retry

from otpreport.errors import OtpreportError
from otpreport.place import as_ours

_PORT = 6379
_SENTINEL_PORT = 26379
_SCHEMES = ("redis://", "rediss://", "unix://", "sentinel://")
_SENTINEL_OWN = ("sentinel_username", "sentinel_password")
_SECRET = frozenset({"password", "sentinel_password", "ssl_password"})
_OF_POOLS = ("connection_class", "max_connections", "timeout")
"""Options of a URL, or set by redis-py from it, that we set ourselves."""
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_DAY = 86_400.0
_NO_HOST = re.compile(r"[\s,;|$(){}<>\"'\\]")
_KNOWN = frozenset(
    {
        "client_name",
        "db",
        "health_check_interval",
        "max_connections",
        "password",
        "socket_keepalive",
        *_TIMEOUTS,
        "ssl_ca_certs",
        "ssl_ca_data",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_ciphers",
        "ssl_keyfile",
        "ssl_min_version",
        "ssl_password",
        "timeout",
        "username",
    }
)
"""The redis-py options a URL may have; others change the form of replies, or can't be text."""

# redis-py leaves these signatures untyped.
_connection: Any = redis.connection
_sentinel: Any = redis.sentinel


class UnknownOptionError(OtpreportError, ValueError):
    """A URL has an unknown option; shows its name and the fix, no value."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.problem = f"has the unknown option {name}"
        tls = name in {"ssl", "tls"}
        self.fix = "write rediss:// for TLS" if tls else f"use one of {', '.join(sorted(known))}"
        super().__init__(f"redis_url {self.problem}: {self.fix}")


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL; `options` are redis-py's for one connection, hidden from `repr`.

    With `sentinels`, these name the master of `service`, and `options` have no host.
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

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Hosts and ports to connect to first: the sentinels, or Redis."""
        return self.sentinels or ((str(self.options["host"]), int(str(self.options.get("port", _PORT)))),)


def read(url: str) -> Address:
    """Parse a Redis URL; ValueError, without the password, for an invalid one (UnknownOptionError for an option).

    Besides redis-py's `redis://`, `rediss://` and `unix://` it accepts
    `sentinel://[user:password@]host1:port,host2:port/service[/db][?options]`. User and password are Redis';
    `sentinel_username` and `sentinel_password` are the sentinels' own, `ssl=true` asks for TLS to both, and
    redis-py's options (`ssl_ca_certs`, ...) work as in the other forms. Spellings of other tools are read, too.
    """
    url = as_ours(url)
    try:
        found = _read_sentinel(url) if url.startswith("sentinel://") else _read_plain(url)
        kind = _connection.SSLConnection if found.tls else _connection.Connection
        (_connection.UnixDomainSocketConnection if found.unix else kind)(**found.options)
    except UnknownOptionError:
        raise
    except (ValueError, TypeError, RedisError):
        # The parser's own message is not passed on: it may quote an unescaped password.
        raise ValueError(f"redis_url cannot be read: {_fix(url)}") from None
    return found


def connection_pool(url: str, *, timeout: float) -> ConnectionPool:
    """Return a pool for a URL that `read` accepts, without connecting.

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


def absent_file(options: Mapping[str, object]) -> str:
    """Say which file of TLS is not there, which reads like a fault of the connection; empty for none."""
    for name in _FILES:
        path = options.get(name)
        if path and not Path(str(path)).exists():
            return f"{name} {path} is not there"
    return ""


def _fix(url: str) -> str:
    if not url.startswith(_SCHEMES):
        return "it must start with redis://, rediss://, unix:// or sentinel://"
    if url.startswith("sentinel://"):
        return "it must have the form sentinel://[user:password@]host:port,host:port/service[/db][?options]"
    return (
        "check the host, the port, the database and the options, and escape the password (urllib.parse.quote)"
    )


def _read_plain(url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        usable = bool(parts.path)
    else:
        _host_and_port(parts.netloc.rpartition("@")[2], _PORT)
        usable = re.fullmatch(r"/?|/[0-9]{1,5}/?", parts.path, re.ASCII) is not None and not parts.fragment
    if not usable:
        raise ValueError("no database")
    _check_names(parts, _KNOWN)
    return Address(_options(url), tls=parts.scheme == "rediss")


def _read_sentinel(url: str) -> Address:
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not hosts or not re.fullmatch(r"[0-9]{0,5}", database, re.ASCII) or parts.fragment:
        raise ValueError("no host, no service or no database")
    _check_names(parts, {*_KNOWN, *_SENTINEL_OWN, "ssl"})
    query = dict(parse_qsl(parts.query))
    own = {name.removeprefix("sentinel_"): query.pop(name) for name in _SENTINEL_OWN if name in query}
    tls = query.pop("ssl", "false").lower() in {"1", "true", "yes"}
    user = f"{credentials}@" if credentials else ""
    # redis-py reads user, password, database and options, as in a plain URL
    options = _options(f"redis{'s' * tls}://{user}sentinel/{database}?{urlencode(query)}")
    return Address(
        {name: value for name, value in options.items() if name != "host"},
        tls=tls,
        sentinels=tuple(_host_and_port(host, _SENTINEL_PORT) for host in hosts.split(",")),
        service=service,
        sentinel_options={name: value for name, value in options.items() if name.startswith("ssl_")} | own,
    )


def _check_names(parts: SplitResult, known: Collection[str]) -> None:
    names = [name for name, _ in parse_qsl(parts.query)]
    for name in names:
        if name in known:
            continue
        if "@" in parts.query or not name.isidentifier() or _SECRET.intersection(names):
            raise ValueError("it may be a part of a password")
        raise UnknownOptionError(name, known)


def _options(url: str) -> dict[str, object]:
    found = cast("dict[str, Any]", _connection.parse_url(url))
    if found.get("db", 0) < 0 or not all(0 < found.get(name, 1) <= _DAY for name in _TIMEOUTS):
        raise ValueError("no such database, or no such time")
    if found.get("health_check_interval", 0) > _DAY:
        raise ValueError("no such time")
    ssl.TLSVersion(found.get("ssl_min_version", ssl.TLSVersion.TLSv1_2))
    return {name: value for name, value in found.items() if name not in _OF_POOLS}


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    host, port = unquote(parts.hostname or ""), default if parts.port is None else parts.port
    if _NO_HOST.search(host):
        raise ValueError("several hosts, or a reference that nothing replaced")
    host.encode("idna")  # as the DNS lookup does, which would raise the same UnicodeError, a ValueError
    if not host or not port:
        raise ValueError("no host or no port")
    return host, port


def _sentinel_pool(address: Address, options: Mapping[str, object]) -> ConnectionPool:
    sentinel = _sentinel.Sentinel(
        address.sentinels, sentinel_kwargs={**options, **address.sentinel_options, "ssl": address.tls}
    )
    own = {**options, **address.options}
    pool = _sentinel.SentinelConnectionPool(address.service, sentinel, **own, ssl=address.tls)
    return cast("ConnectionPool", pool)
