"""New connections: names looked up, every address of theirs tried, TLS verified."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from config.logging import log_event
from config.proxy import ProxyServer, hop
from config.route import DIRECT, Route
from worker.http.http1 import HttpConnection
from worker.http.race import Address, connected
from worker.http.tunnel import Tunnel

logger = logging.getLogger("otpreport.worker")

ADDRESS_TTL = 10.0
"""Seconds for which a name's addresses are known, and for which one that is not found is given up, at most."""

LOOKUP_PAUSE = 1.0
"""Seconds until a name is looked up again whose address took no connection, or that was not found, the first time."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, eq=False)  # the same one is used for every request that goes there
class Place:
    """Where requests go, and how; `authority` is the value of their `Host`."""

    host: str
    port: int
    authority: str
    encrypted: bool
    route: Route = DIRECT

    @property
    def first(self) -> tuple[str, int]:
        """The host and port that a connection is made to."""
        proxy = self.route.proxy
        return (proxy.host, proxy.port) if proxy else (self.host, self.port)

    @classmethod
    def of(cls, origin: str, route: Route = DIRECT) -> Place:
        """Read `scheme://host[:port]`; ValueError, which does not show what was given, for anything else."""
        parts = urlsplit(origin)
        host, port = parts.hostname, _PORTS.get(parts.scheme)
        if not host or port is None or "@" in parts.netloc or parts.path or parts.query or parts.fragment:
            raise ValueError("no address that requests could go to")
        return cls(host, parts.port or port, parts.netloc, parts.scheme == "https", route)


Stamps = tuple[tuple[int, int, int], ...]
LookUp = Callable[[Place], Coroutine[Any, Any, list[Address]]]


@dataclass(frozen=True, slots=True)
class _Missing:
    """A name that was not found: why, until when that is believed, and for how many seconds."""

    why: Exception
    until: float
    pause: float


class Dialer:
    """Connect to places; without `tls`, certificates are checked as the place's route says.

    A name is looked up at most once a second for all events, and ever less often while it is not found.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        look_up: LookUp | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        unheard: float = 0.0,
    ) -> None:
        """`unheard`: seconds after which the kernel gives up on bytes that the other end has not confirmed; 0: its own.

        Else a request whose worker has ended could still arrive minutes later, when a broken network is well again.
        """
        self._unheard_ms = round(unheard * 1000)
        self._tls = tls
        self._look_up = look_up or _look_up
        self._monotonic = monotonic
        self._missing: dict[Place, _Missing] = {}
        self._known: dict[Place, tuple[float, float, list[Address]]] = {}
        self._looking: dict[Place, asyncio.Task[list[Address]]] = {}
        self._contexts: dict[Route, tuple[Stamps, ssl.SSLContext]] = {}

    async def connect(self, place: Place, lost: Callable[[HttpConnection], None]) -> HttpConnection:
        """Return a new connection; OSError, or ValueError for a host that is no name, when there is none."""
        try:
            return await self._reach(place, lost)
        except BaseException as error:
            self._doubt(place)
            if isinstance(error, OSError) and place.route.proxy and not isinstance(error, TimeoutError):
                raise ConnectionError(f"by proxy {place.route.proxy}: {error}") from error
            raise

    async def _reach(self, place: Place, lost: Callable[[HttpConnection], None]) -> HttpConnection:
        context = await self._context(place.route) if place.encrypted else None
        addresses = await self._addresses(place)
        found, there = await connected(addresses, place.route.source_address)
        addresses.sort(key=lambda address: address != there)  # who connects next does not wait for a dead one
        if self._unheard_ms and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has it
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._unheard_ms)
        try:
            if place.route.proxy:
                return await self._tunnel(place, place.route.proxy, found, lost, context)
            return await self._speak(place, found, lost, context)
        except BaseException:
            found.close()
            raise

    def _doubt(self, place: Place) -> None:
        """Look a name up again, its addresses may be others now; but not for each request that fails."""
        if place in self._known:
            looked_up, _, addresses = self._known[place]
            self._known[place] = looked_up, looked_up + LOOKUP_PAUSE, addresses

    async def _speak(
        self,
        place: Place,
        found: socket.socket,
        lost: Callable[[HttpConnection], None],
        context: ssl.SSLContext | None,
    ) -> HttpConnection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: HttpConnection(lost),
            sock=found,
            ssl=context,
            server_hostname=_server_name(place.host) if context else None,
        )
        return connection

    async def _tunnel(
        self,
        place: Place,
        proxy: ProxyServer,
        found: socket.socket,
        lost: Callable[[HttpConnection], None],
        context: ssl.SSLContext | None,
    ) -> HttpConnection:
        """Connect through the place's proxy; the TLS in the tunnel is the provider's, end to end."""
        loop = asyncio.get_running_loop()
        transport, tunnel = await loop.create_connection(
            lambda: Tunnel(proxy),
            sock=found,
            ssl=await self._context(replace(place.route, client_cert="")) if proxy.encrypted else None,
            server_hostname=_server_name(proxy.host) if proxy.encrypted else None,
        )
        try:
            await tunnel.open(hop(place.host, place.port))
            connection = HttpConnection(lost)
            if context is None:
                transport.set_protocol(connection)
                inner: asyncio.Transport | None = transport
            else:
                inner = await loop.start_tls(
                    transport, connection, context, server_hostname=_server_name(place.host)
                )
            if inner is None:
                raise ConnectionError("the connection ended")
            connection.connection_made(inner)
            inner.resume_reading()
        except BaseException:
            transport.abort()
            raise
        return connection

    async def _context(self, route: Route) -> ssl.SSLContext:
        """Make a route's context once, since it reads every authority of the system, and again when a file changed."""
        if self._tls is not None:
            return self._tls
        known = self._contexts.get(route)
        if not route.files:
            stamps, context = known or ((), route.context())
        else:
            stamps, context = await asyncio.to_thread(_read, route, known)
        self._contexts[route] = stamps, context
        return context

    async def _addresses(self, place: Place) -> list[Address]:
        """Return the addresses of a name; concurrent callers share one look-up."""
        _, until, addresses = self._known.get(place, (0.0, 0.0, []))
        now = self._monotonic()
        if now < until:
            return addresses
        missing = self._missing.get(place)
        if missing and now < missing.until:
            raise type(missing.why)(*missing.why.args)
        looking = self._looking.get(place)
        if looking is None:
            looking = self._looking[place] = asyncio.create_task(self._look_up(place))
            looking.add_done_callback(functools.partial(self._looked_up, place))
        return await asyncio.shield(looking)

    def _looked_up(self, place: Place, looking: asyncio.Task[list[Address]]) -> None:
        del self._looking[place]
        if looking.cancelled():
            return
        now, before, why = self._monotonic(), self._missing.pop(place, None), looking.exception()
        if why is None:
            self._known[place] = now, now + ADDRESS_TTL, looking.result()
        elif isinstance(why, OSError | ValueError):
            pause = min(ADDRESS_TTL, 2 * before.pause) if before else LOOKUP_PAUSE
            self._missing[place] = _Missing(why, now + pause, pause)


async def _look_up(place: Place) -> list[Address]:
    """Return a name's addresses in the order to be tried: the system's, but the families in turns."""
    found = await asyncio.get_running_loop().getaddrinfo(*place.first, type=socket.SOCK_STREAM)
    families: dict[int, list[Address]] = {}
    for family, _, _, _, where in found:
        families.setdefault(family, []).append((family, where))
    turns = itertools.zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


def _read(route: Route, known: tuple[Stamps, ssl.SSLContext] | None) -> tuple[Stamps, ssl.SSLContext]:
    """Return the context of a route's files, the known one while they are the same, or can't be used just now."""
    try:
        stamps = tuple(
            (found.st_mtime_ns, found.st_ino, found.st_size) for found in map(os.stat, route.files)
        )
        return known if known and known[0] == stamps else (stamps, route.context())
    except OSError as error:
        if known is None:
            raise
        log_event(logger, logging.WARNING, "TLS files can't be used, keeping the old ones", error=str(error))
        return known


def _server_name(host: str) -> str:
    return host.rstrip(".")
