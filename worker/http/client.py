"""HTTP to the providers, by one of two engines: our own, and httpx for who needs its transports."""

from __future__ import annotations

import asyncio
import copy
import itertools
import math
import ssl
import time
from collections.abc import Callable
from typing import Protocol

from config.route import DIRECT, Route
from config.settings import HttpEngine
from providers.base import Answer, SignedRequest
from tasks.report import NotSent, TooLate
from worker.http.connections import Connections
from worker.http.dial import Dialer, Place
from worker.http.http1 import HttpConnection, request


class HttpClient(Protocol):
    """The port `tasks.report.Http`, by any route, and its end."""

    async def send(self, signed: SignedRequest, send_by: float = math.inf, /) -> Answer:
        """Send a signed request exactly as it is; NotSent, TooLate or InDoubt when there is no answer."""
        ...

    def by(self, route: Route) -> HttpClient:
        """Return a client for requests that travel by this route, within the same bounds."""
        ...

    async def close(self) -> None:
        """End every connection."""
        ...


def http_client(
    engine: HttpEngine,
    *,
    connections: int,
    connect_timeout: float,
    read_timeout: float,
    tls: ssl.SSLContext | None = None,
    may_send: Callable[[], bool] = lambda: True,
) -> HttpClient:
    """Return a client with keep-alive, bounded connections and verified TLS; no redirects or cookies.

    Timeouts are seconds: for connecting, and for reading the whole answer, so that a slowly dripping one ends, too.
    Right before the write, `send_by` and `may_send` decide whether a request may still leave.
    """
    if engine == "httpx":
        # who does not use it need not wait for its import
        from worker.http.httpx_client import HttpxClient  # noqa: PLC0415

        return HttpxClient(connections, connect_timeout, read_timeout, tls, may_send)
    dialer = Dialer(tls, unheard=read_timeout)
    return OwnClient(Connections(dialer, limit=connections, timeout=connect_timeout), read_timeout, may_send)


class OwnClient:
    """Our own engine: on a kept connection a request costs only writing and reading its bytes.

    `may_send` is asked right before the write. If the request may not leave, its connection is kept, so that one which
    took longer than the slot serves a later request.
    """

    def __init__(self, connections: Connections, read_timeout: float, may_send: Callable[[], bool]) -> None:
        self._connections = connections
        self._bound = _Bound(read_timeout)
        self._may_send = may_send
        self._route = DIRECT
        self._places: dict[str, Place] = {}

    def by(self, route: Route) -> OwnClient:
        """Return a client for another route, within the same bounds."""
        client = copy.copy(self)
        client._route, client._places = route, {}
        return client

    async def send(self, signed: SignedRequest, send_by: float = math.inf, /) -> Answer:
        """Send a signed request exactly as it is; NotSent, TooLate or InDoubt when there is no answer."""
        try:
            place, written = self._written(signed)
            connection = self._connections.kept(place) or await self._connections.new(place)
        except TimeoutError as error:
            by = f"by proxy {self._route.proxy}: " if self._route.proxy else ""
            raise NotSent(f"ConnectTimeout: {by}{_text(error)}") from None
        except (OSError, ValueError) as error:
            raise NotSent(f"ConnectError: {_text(error)}") from error
        try:
            if time.monotonic() > send_by or not self._may_send():
                raise TooLate("nothing was sent: the slot or the lease was over")
            answer = connection.ask(written)
            self._bound.begin(connection)
            try:
                return await answer
            finally:
                self._bound.end(connection)
        finally:
            self._connections.give_back(place, connection)

    async def close(self) -> None:
        """End every connection."""
        await self._connections.close()

    def _written(self, signed: SignedRequest) -> tuple[Place, bytes]:
        """Return a request's place and bytes; an origin is parsed once, which costs more than all else here."""
        origin, target = signed.target()
        place = self._places.get(origin)
        if place is None:
            place = self._places[origin] = Place.of(origin, self._route)
        return place, request(signed.method, target, place.authority, signed.headers, signed.body)


class _Bound:
    """Close connections whose answer takes longer than `seconds`.

    All have the same time-out, so they fall due in the order they began, and one timer serves all: one for each
    request would be a tenth of the cost of sending it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[HttpConnection, float] = {}
        self._watched = False

    def begin(self, connection: HttpConnection) -> None:
        """Bound the exchange that begins now."""
        self._due[connection] = time.monotonic() + self._seconds
        if not self._watched:
            self._watch()

    def end(self, connection: HttpConnection) -> None:
        """Forget the exchange."""
        self._due.pop(connection, None)

    def _watch(self) -> None:
        now = time.monotonic()
        late = [*itertools.takewhile(lambda connection: self._due[connection] <= now, self._due)]
        for connection in late:
            del self._due[connection]
            connection.cut(f"ReadTimeout: no whole answer within {self._seconds:g} s")
        self._watched = bool(self._due)
        if self._watched:
            first = next(iter(self._due.values()))
            asyncio.get_running_loop().call_later(first - now, self._watch)


def _text(error: Exception) -> str:
    """Return the error in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
