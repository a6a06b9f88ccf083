"""Redis connections of the asyncio half; they follow the master."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from otpreport.address import Address, read
from worker.script_connection import Opened, Scripts, demotion
from worker.sentinels import Sentinels

TIMEOUT = 5.0
"""Seconds a command may take."""

MOST = 4
"""Connections of one worker: one for its scripts, the others for all other commands."""


class RedisClient(Redis):
    """redis-py's client, except that scripts use a separate connection."""

    _scripts: Scripts

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]:
        """Run a script that Redis knows."""
        return self._scripts.call("EVALSHA", sha, numkeys, *keys_and_args)

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]:
        """Run a script by its text."""
        return self._scripts.call("EVAL", script, numkeys, *keys_and_args)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the connections."""
        await self._scripts.aclose()
        await super().aclose(close_connection_pool)

    @classmethod
    def over(cls, pool: BlockingConnectionPool) -> RedisClient:
        """Return a client whose scripts go over a connection made as the pool makes its own."""
        untyped: Any = pool

        async def open_one() -> Opened:
            connection = untyped.make_connection()
            await connection.connect()
            return cast("Opened", connection)

        client = cast("RedisClient", cls.from_pool(pool))
        client._scripts = Scripts(open_one, untyped.connection_kwargs["socket_timeout"] or TIMEOUT)
        return client


def connect(url: str) -> RedisClient:
    """Return a client for a URL that `otpreport.address.read` can read, without connecting.

    A failed command is not repeated here, but by callers, who know whether that is safe. After a failure, and
    after a refusal such as READONLY, the next command opens a new connection: by name, or to the master that
    the sentinels name by then.
    """
    address = read(url)
    once = Retry(NoBackoff(), 0)
    timeouts: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    own: dict[str, Any] = {**timeouts, "health_check_interval": 10, **address.options}
    own |= {"retry": once, "protocol": 2}
    if not address.unix:
        own.setdefault("socket_keepalive", True)
    if not address.sentinels:
        return RedisClient.over(BlockingConnectionPool(MOST - 1, connection_class=_class_for(address), **own))
    options = {**timeouts, "retry": once, "protocol": 2, **address.sentinel_options, "ssl": address.tls}
    own["sentinels"] = Sentinels(address.sentinels, address.service, options)
    return RedisClient.over(_SentinelPool(MOST - 1, connection_class=_class_for(address), **own))


class _SentinelPool(BlockingConnectionPool):
    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections, those to the sentinels too."""
        await super().disconnect(inuse_connections)
        sentinels: Sentinels = self.connection_kwargs["sentinels"]
        await sentinels.close()


class _GivesUp(AbstractConnection):
    """Close a connection whose server can't be written to any more."""

    _reader: asyncio.StreamReader | None
    _writer: asyncio.StreamWriter | None

    @property
    def is_current(self) -> bool:
        """Whether this is still the server to talk to."""
        return True

    @property
    def place(self) -> str:
        """Host and port, or the socket's file."""
        return self._host_error()

    def give_away(self) -> asyncio.StreamWriter:
        """Return the stream, which is the caller's from now on: redis-py forgets it."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is None:
            raise RedisConnectionError(f"{self.place}: the connection was closed")
        return writer

    def pack_command(self, *arguments: Any) -> list[bytes]:
        """Write a command in Redis' protocol with hiredis: redis-py's own asyncio packer is ten times slower."""
        untyped: Any = hiredis
        name, *others = arguments
        return [untyped.pack_command((*name.encode().split(), *others))]

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """Write a command; redis' ConnectionError also where uvloop says with a RuntimeError that it has ended."""
        parent: Any = super()
        try:
            await parent.send_packed_command(*arguments, **options)
        except RuntimeError as error:
            raise RedisConnectionError(f"{self.place}: {error}") from error

    async def read_response(self, *arguments: Any, **options: Any) -> object:
        """Read a reply; redis' ConnectionError for a refusal that only another server would not give."""
        parent: Any = super()
        try:
            reply: object = await parent.read_response(*arguments, **options)
        except ResponseError as error:
            demoted = demotion(error, self._host_error())
            if demoted is None:
                raise
            await self.disconnect(nowait=True)
            raise demoted from error
        return reply


class _Tcp(_GivesUp, Connection):
    pass


class _Tls(_GivesUp, SSLConnection):
    pass


class _Unix(_GivesUp, UnixDomainSocketConnection):
    pass


class _ToMaster(_GivesUp, Connection):
    """Connect to the master, and leave it for another as soon as the sentinels have named one."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        parent: Any = super()
        parent.__init__(**options)
        self._sentinels = sentinels

    @property
    def is_current(self) -> bool:
        """Whether it leads to the server that the sentinels call the master."""
        return (self.host, self.port) == self._sentinels.known_master

    async def connect(self) -> None:
        """Connect, unless this is the master's connection already; the pool calls it before each use."""
        if self.is_connected and not self.is_current:
            await self.disconnect(nowait=True)
        if not self.is_connected:
            self.host, self.port = await self._sentinels.find_master()
        parent: Any = super()
        await parent.connect()


class _TlsToMaster(_ToMaster, SSLConnection):
    pass


def _class_for(address: Address) -> type[AbstractConnection]:
    if address.sentinels:
        return _TlsToMaster if address.tls else _ToMaster
    if address.unix:
        return _Unix
    return _Tls if address.tls else _Tcp
