"""HTTP to the providers, by one of two engines: our own, and httpx for who needs its transports."""

from __future__ import annotations

import asyncio
import copy
import itertools
import math
import ssl
import time
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Protocol

from config.route import DIRECT, Route
from config.settings import HttpEngine
from providers.base import Answer, SignedRequest, divided
from tasks.report import InDoubt, NotSent, TooLate
from worker.http.connections import Connections
from worker.http.dial import Dialer, Place
from worker.http.hearing import Cancel, RequestTasks, Then, awaited
from worker.http.http1 import HttpConnection, request

URLS = 64
"""URLs whose places are remembered; those of some providers hold the message id."""


class HttpClient(Protocol):
    """The port `tasks.report.Http`, by any route, and its end."""

    def start(self, signed: SignedRequest, send_by: float, then: Then, /) -> Cancel:
        """Send a signed request exactly as it is; `then` hears its answer, or NotSent, TooLate or InDoubt."""
        ...

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
        self._exchanges = _Exchanges(connections, read_timeout)
        self._tasks = RequestTasks()
        self._may_send = may_send
        self._route = DIRECT
        self._place_of = _places(DIRECT)

    def by(self, route: Route) -> OwnClient:
        """Return a client for another route, within the same bounds."""
        client = copy.copy(self)
        client._route, client._place_of = route, _places(route)
        return client

    async def send(self, signed: SignedRequest, send_by: float = math.inf, /) -> Answer:
        """Send a signed request exactly as it is; NotSent, TooLate or InDoubt when there is no answer."""
        return await awaited(lambda then: self.start(signed, send_by, then))

    def start(self, signed: SignedRequest, send_by: float, then: Then, /) -> Cancel:
        """Send a signed request exactly as it is; `then` hears its answer, or NotSent, TooLate or InDoubt.

        Raises NotSent or TooLate where that is known at once.
        """
        try:
            place, written = self._written(signed)
        except ValueError as error:
            raise NotSent(f"ConnectError: {_text(error)}") from error
        connection = self._connections.kept(place)
        if connection is None:
            return self._tasks.start(partial(self._by_a_new_one, place, written, send_by), then)
        return self._ask(place, connection, written, send_by, then)

    async def _by_a_new_one(self, place: Place, written: bytes, send_by: float) -> Answer:
        """Send a request over a new connection, or over one that was given back meanwhile."""
        try:
            connection = await self._connections.new(place)
        except TimeoutError as error:
            by = f"by proxy {self._route.proxy}: " if self._route.proxy else ""
            raise NotSent(f"ConnectTimeout: {by}{_text(error)}") from None
        except (OSError, ValueError) as error:
            raise NotSent(f"ConnectError: {_text(error)}") from error
        return await awaited(partial(self._ask, place, connection, written, send_by))

    def _ask(
        self, place: Place, connection: HttpConnection, written: bytes, send_by: float, then: Then
    ) -> Cancel:
        """Write a request if it still may leave; otherwise its connection is kept for a later one."""
        now = time.monotonic()
        if now > send_by or not self._may_send():
            self._connections.give_back(place, connection)
            raise TooLate("nothing was sent: the slot or the lease was over")
        try:
            self._exchanges.begin(place, connection, written, then, now)
        except BaseException:
            self._connections.give_back(place, connection)
            raise
        return connection.cut

    async def close(self) -> None:
        """End every connection."""
        await self._tasks.end()
        await self._connections.close()

    def _written(self, signed: SignedRequest) -> tuple[Place, bytes]:
        """Return a request's place and bytes."""
        place, target = self._place_of(signed.url)
        return place, request(signed.method, target, place.authority, signed.headers, signed.body)


class _Exchanges:
    """The requests under way; a connection whose answer takes longer than `seconds` is closed.

    All have the same time-out, so they fall due in the order they began, and one timer serves all: one for each
    request would be a tenth of the cost of sending it.
    """

    def __init__(self, connections: Connections, seconds: float) -> None:
        self._connections = connections
        self._seconds = seconds
        self._open: dict[HttpConnection, tuple[float, Place, Then]] = {}
        self._watched = False

    def begin(self, place: Place, connection: HttpConnection, written: bytes, then: Then, now: float) -> None:
        """Write a request; its answer is due from now on."""
        connection.ask(written, self._end)
        self._open[connection] = now + self._seconds, place, then
        if not self._watched:
            self._watch()

    def _end(self, connection: HttpConnection, answer: Answer | NotSent | InDoubt) -> None:
        _, place, then = self._open.pop(connection)
        self._connections.give_back(place, connection)
        then(answer)

    def _watch(self) -> None:
        now = time.monotonic()
        late = [*itertools.takewhile(lambda connection: self._open[connection][0] <= now, self._open)]
        self._watched = len(self._open) > len(late)
        if self._watched:
            first, _, _ = next(itertools.islice(self._open.values(), len(late), None))
            asyncio.get_running_loop().call_later(first - now, self._watch)
        for connection in late:
            connection.cut(f"ReadTimeout: no whole answer within {self._seconds:g} s")


def _places(route: Route) -> Callable[[str], tuple[Place, str]]:
    """Return what finds the place and the target of a URL; parsing an origin costs more than all else of a request."""

    @cache
    def place_of(origin: str) -> Place:
        return Place.of(origin, route)

    @lru_cache(URLS)
    def place_and_target(url: str) -> tuple[Place, str]:
        origin, target = divided(url)
        return place_of(origin), target

    return place_and_target


def _text(error: Exception) -> str:
    """Return the error in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
