"""The worker's small HTTP server: metrics, liveness, readiness."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

TRIES = 100
"""How many ports are tried from the configured one up."""

STOP_TIMEOUT = 1.0
"""Seconds that a request which is not answered yet may delay the stop; aiohttp waits that long up to twice."""

MOST = 16
"""Connections at a time; one more ends the oldest, because an honest one lasts some milliseconds."""

CONNECTION_TIMEOUT = 15.0
"""Seconds from a connection to the end of its one answer; Prometheus waits ten."""

ADDRESSES = {"localhost": ("127.0.0.1", "::1"), "*": ("0.0.0.0", "::")}  # noqa: S104 - who asks for all gets all
"""What METRICS_HOST may name besides one address."""

Ready = Callable[[], str | None]
"""Returns None when ready, else the reason why not."""


class HealthServer:
    """Serve `/metrics`, `/healthz` (the loop answers) and `/readyz` (work is being done)."""

    def __init__(
        self,
        registry: CollectorRegistry,
        ready: Ready,
        before_scrape: Callable[[], None],
        routes: Iterable[web.AbstractRouteDef] = (),
    ) -> None:
        """Serve `routes`, too."""
        self._registry = registry
        self._ready = ready
        self._before_scrape = before_scrape
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.add_routes(routes)
        app.on_response_prepare.append(_bare)
        app.on_response_prepare.append(_last)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_TIMEOUT)
        self._listening: list[asyncio.Server] = []
        self._guests = Guests(MOST, CONNECTION_TIMEOUT)

    async def start(self, host: str, port: int) -> int:
        """Listen on `port`, or on the next one that is free (0: on any); return it.

        `host` is an address, `localhost` for both of this host's own, or `*` for all of both families.
        """
        await self._runner.setup()
        first, *others = ADDRESSES.get(host, (host,))
        for candidate in range(port, port + TRIES) if port else (0,):
            try:
                bound = await self._listen(first, candidate)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            for other in others:
                await self._listen_too(other, bound)
            return bound
        raise OSError(errno.EADDRINUSE, f"no free port from {port} to {port + TRIES - 1}")

    async def _listen(self, host: str, port: int) -> int:
        listening = await asyncio.get_running_loop().create_server(self._entrance, host, port)
        self._listening.append(listening)
        bound: int = listening.sockets[0].getsockname()[1]
        return bound

    async def _listen_too(self, host: str, port: int) -> None:
        """Listen on the same port of the other address family, if the machine has it and the port is free."""
        try:
            await self._listen(host, port)
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EADDRINUSE}:
                raise

    async def stop(self) -> None:
        """Stop listening."""
        for listening in self._listening:
            listening.close()
        await self._runner.cleanup()

    def _entrance(self) -> asyncio.Protocol:
        """Return what a new connection is given to: it is noted, then the server has it."""
        return Entrance(self._guests, cast("web.Server", self._runner.server)())

    async def _metrics(self, _: web.Request) -> web.Response:
        self._before_scrape()
        # 2 ms of the loop an account, and from 10 ms on a slot is missed; a thread costs it 5 ms at a time
        text = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        fault = self._ready()
        return web.Response(text=f"{fault or 'ready'}\n", status=503 if fault else 200)


async def _last(_: web.Request, answer: web.StreamResponse) -> None:
    """End the connection with the answer: an idle one holds a descriptor that a request may need."""
    answer.force_close()
    answer.headers["Connection"] = "close"


class Guests:
    """The open connections: at most `most`, each for at most `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._open: deque[tuple[float, asyncio.Transport]] = deque()
        self._watched = False

    def let_in(self, transport: asyncio.Transport) -> None:
        """Note a connection; the oldest makes room for it."""
        self._forget_closed()
        while len(self._open) >= self._most:
            self._open.popleft()[1].abort()
        loop = asyncio.get_running_loop()
        self._open.append((loop.time() + self._seconds, transport))
        if not self._watched:
            self._watched = True
            loop.call_later(self._seconds, self._watch)

    def _forget_closed(self) -> None:
        self._open = deque((due, one) for due, one in self._open if not one.is_closing())

    def _watch(self) -> None:
        """End those whose time is over; one timer does for all."""
        loop = asyncio.get_running_loop()
        self._forget_closed()
        while self._open and self._open[0][0] <= loop.time():
            self._open.popleft()[1].abort()
        self._watched = bool(self._open)
        if self._watched:
            loop.call_at(self._open[0][0], self._watch)


class Entrance(asyncio.Protocol):
    """The protocol of a connection until it is made."""

    def __init__(self, guests: Guests, inside: asyncio.BaseProtocol) -> None:
        self._guests = guests
        self._inside = inside

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection, and let the server have it."""
        connected = cast("asyncio.Transport", transport)
        self._guests.let_in(connected)
        connected.set_protocol(self._inside)
        self._inside.connection_made(connected)


async def _bare(_: web.Request, response: web.StreamResponse) -> None:
    """Hide the server's version, and forbid browsers to guess content types."""
    response.headers.pop("Server", None)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
