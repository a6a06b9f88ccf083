"""Redis connections of the asyncio half; they follow the master."""

from __future__ import annotations

from typing import Any

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
from worker.sentinels import Sentinels

TIMEOUT = 5.0
"""Seconds a command may take."""

MOST = 4
"""Connections of one worker: leasing and settling, admission, maintenance, and what a report tells all."""

DEMOTED = ("READONLY", "MASTERDOWN", "NOREPLICAS")
"""Refusals of a server that is no master any more, or that its replicas have left."""


def connect(url: str) -> Redis:
    """Return a client for a URL that `otpreport.address.read` can read, without connecting.

    A command that fails is not repeated here, but by who knows what it does. After a failure, and after a
    refusal that only another server would not give, the next command connects anew: by name, or to the
    master that the sentinels name by then.
    """
    address = read(url)
    once = Retry(NoBackoff(), 0)
    timeouts: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    own: dict[str, Any] = {**timeouts, "health_check_interval": 10, **address.options}
    own |= {"retry": once, "protocol": 2}
    if not address.unix:
        own.setdefault("socket_keepalive", True)
    if not address.sentinels:
        return Redis.from_pool(BlockingConnectionPool(MOST, connection_class=_class_for(address), **own))
    options = {**timeouts, "retry": once, "protocol": 2, **address.sentinel_options, "ssl": address.tls}
    own["sentinels"] = Sentinels(address.sentinels, address.service, options)
    return Redis.from_pool(_SentinelPool(MOST, connection_class=_class_for(address), **own))


class _SentinelPool(BlockingConnectionPool):
    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections, those to the sentinels too."""
        await super().disconnect(inuse_connections)
        sentinels: Sentinels = self.connection_kwargs["sentinels"]
        await sentinels.close()


class _GivesUp(AbstractConnection):
    """Close a connection whose server can't be written to any more."""

    def pack_command(self, *arguments: Any) -> list[bytes]:
        """Write a command in Redis' protocol with hiredis: redis-py's own asyncio packer is ten times slower."""
        untyped: Any = hiredis
        name, *others = arguments
        return [untyped.pack_command((*name.encode().split(), *others))]

    async def read_response(self, *arguments: Any, **options: Any) -> object:
        """Read a reply; redis' ConnectionError for a refusal that only another server would not give."""
        parent: Any = super()
        try:
            reply: object = await parent.read_response(*arguments, **options)
        except ResponseError as error:
            if (error.status_code or str(error)).partition(" ")[0] not in DEMOTED:
                raise
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"{self._host_error()} is no master to write to: {error}") from error
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

    async def connect(self) -> None:
        """Connect, unless this is the master's connection already; the pool calls it before each use."""
        if self.is_connected and (self.host, self.port) != self._sentinels.known_master:
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
