"""The one place that builds the simulator from its settings and lets it listen."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from simulator.cloud import Cloud
from simulator.connection import Connection, Exchange
from simulator.control import Control
from simulator.lag import LagMeter
from simulator.reply import FAILED, encode
from simulator.settings import Settings
from simulator.validation import InvalidSettingsError

_BACKLOG = 4096


class Simulator:
    """A simulator that does not listen yet."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @asynccontextmanager
    async def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[Server, None]:
        """Listen (port 0: a free one) until the block ends; OSError when that is not possible."""
        server = Server(self._settings)
        await server.open(host, port)
        try:
            yield server
        finally:
            await server.close()


class Server:
    """A listening simulator: provider calls go to the cloud, /-/ to the control API."""

    def __init__(self, settings: Settings) -> None:
        self.url = ""
        self.lag = LagMeter()
        self.cloud = Cloud(settings, self.lag)
        self._context = _tls(settings)
        self._control = Control(self.cloud, self._count_connections, self.reset)
        self._connections: set[Connection] = set()
        self._number = 0
        self._used = 0  # open connections that carried a provider call
        self._most_used = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connection, host, port, backlog=_BACKLOG, ssl=self._context, reuse_address=True
        )
        scheme = "https" if self._context else "http"
        name = f"[{host}]" if ":" in host else host
        self.url = f"{scheme}://{name}:{self._server.sockets[0].getsockname()[1]}"
        self.lag.start(self.cloud.review)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        self._server.close()
        for connection in list(self._connections):
            connection.reset()
        for task in self._tasks:
            task.cancel()
        self.lag.stop()
        await self._server.wait_closed()
        await asyncio.sleep(0)  # the transports close in the next turn of the loop

    def reset(self) -> None:
        """Begin a new ledger, new maxima and empty rate windows."""
        self.cloud.reset()
        self.lag.reset()
        self._most_used = self._used

    # As the door of the connections

    def opened(self, connection: Connection) -> None:
        """Keep a connection, to end it at the end."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._used -= connection.used

    def enter(self, exchange: Exchange, read_at: float) -> None:
        """Send a request where it belongs."""
        if exchange.request.target.startswith(b"/-/"):
            task = asyncio.get_running_loop().create_task(self._answer(exchange))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        connection = exchange.connection
        if not connection.used:
            connection.used = True
            self._used += 1
            self._most_used = max(self._most_used, self._used)
        self.cloud.enter(exchange, read_at)

    def leave(self, exchange: Exchange, *, answered: bool) -> None:
        """Pass on that an exchange is over."""
        self.cloud.leave(exchange, answered=answered)

    async def _answer(self, exchange: Exchange) -> None:
        reply = FAILED
        try:
            reply = await self._control.answer(exchange.request)
        finally:  # a fault of ours is answered, and asyncio logs it
            date = self.cloud.clock.date(asyncio.get_running_loop().time())
            exchange.reply(encode(reply, date, keep_alive=exchange.keep_alive))

    def _connection(self) -> Connection:
        self._number += 1
        return Connection(self, self._number)

    def _count_connections(self) -> dict[str, int]:
        return {"now": self._used, "max": self._most_used}


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls.certificate, settings.tls.private_key)
    except OSError as error:  # an SSLError, too
        fault = f"tls: the certificate or its key cannot be used: {error.strerror}"
        raise InvalidSettingsError((fault,)) from None
    return context
