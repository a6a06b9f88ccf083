"""New connections: names looked up, every address of theirs tried, TLS verified."""

from __future__ import annotations

import asyncio
import functools
import itertools
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from worker.http.http1 import HttpConnection

ADDRESS_TTL = 10.0
"""Seconds for which a name's addresses are known, and for which one that is not found is given up, at most."""

LOOKUP_PAUSE = 1.0
"""Seconds until a name is looked up again whose address took no connection, or that was not found, the first time."""

HEAD_START = 0.25
"""Seconds that an address is tried alone before the next one is tried beside it (RFC 8305)."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests go; `authority` is the value of their `Host`."""

    host: str
    port: int
    authority: str
    encrypted: bool

    @classmethod
    def of(cls, origin: str) -> Place:
        """Read `scheme://host[:port]`; ValueError, which does not show what was given, for anything else."""
        parts = urlsplit(origin)
        host, port = parts.hostname, _PORTS.get(parts.scheme)
        if not host or port is None or "@" in parts.netloc or parts.path or parts.query or parts.fragment:
            raise ValueError("no address that requests could go to")
        return cls(host, parts.port or port, parts.netloc, encrypted=parts.scheme == "https")


Address = tuple[int, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""A family and where it is there."""


_Found = tuple[socket.socket, Address]
LookUp = Callable[[Place], Coroutine[Any, Any, list[Address]]]


@dataclass(frozen=True, slots=True)
class _Missing:
    """A name that was not found: why, until when that is believed, and for how many seconds."""

    why: Exception
    until: float
    pause: float


class Dialer:
    """Connect to places; without `tls`, certificates are checked by the system's authorities.

    A name is looked up at most once a second for all events, and ever less often while it is not found.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        look_up: LookUp | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tls = tls
        self._look_up = look_up or _look_up
        self._monotonic = monotonic
        self._missing: dict[Place, _Missing] = {}
        self._known: dict[Place, tuple[float, float, list[Address]]] = {}
        self._looking: dict[Place, asyncio.Task[list[Address]]] = {}

    async def connect(self, place: Place, lost: Callable[[HttpConnection], None]) -> HttpConnection:
        """Return a new connection; OSError, or ValueError for a host that is no name, when there is none."""
        try:
            addresses = await self._addresses(place)
            found, there = await _first(addresses)
            addresses.sort(
                key=lambda address: address != there
            )  # who connects next does not wait for a dead one
            return await self._speak(place, found, lost)
        except BaseException:
            self._doubt(place)
            raise

    def _doubt(self, place: Place) -> None:
        """Look a name up again, its addresses may be others now; but not for each request that fails."""
        if place in self._known:
            looked_up, _, addresses = self._known[place]
            self._known[place] = looked_up, looked_up + LOOKUP_PAUSE, addresses

    async def _speak(
        self, place: Place, found: socket.socket, lost: Callable[[HttpConnection], None]
    ) -> HttpConnection:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: HttpConnection(lost),
                sock=found,
                ssl=self._context if place.encrypted else None,
                server_hostname=place.host.rstrip(".") if place.encrypted else None,
            )
        except BaseException:
            found.close()
            raise
        return connection

    @functools.cached_property
    def _context(self) -> ssl.SSLContext:
        """Make it once: it reads every authority of the system."""
        if self._tls is not None:
            return self._tls
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
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
    found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    families: dict[int, list[Address]] = {}
    for family, _, _, _, where in found:
        families.setdefault(family, []).append((family, where))
    turns = itertools.zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


async def _first(addresses: Sequence[Address]) -> _Found:
    """Connect to whichever address answers first; each has a head start before the one after it."""
    left, trying, faults = deque(addresses), set[asyncio.Task[_Found]](), list[BaseException]()
    while left or trying:
        if left:
            trying.add(asyncio.create_task(_connect(left.popleft())))
        try:
            ended, trying = await asyncio.wait(
                trying, timeout=HEAD_START if left else None, return_when=asyncio.FIRST_COMPLETED
            )
        except BaseException:
            _drop(trying)
            raise
        faults += [fault for attempt in ended if (fault := attempt.exception()) is not None]
        connected = [attempt for attempt in ended if attempt.exception() is None]
        if connected:
            _drop({*connected[1:], *trying})
            return connected[0].result()
    if len(faults) == 1:
        raise faults[0]
    raise ConnectionError(", ".join(dict.fromkeys(map(str, faults))))


async def _connect(address: Address) -> _Found:
    family, where = address
    trying = socket.socket(family, socket.SOCK_STREAM)
    try:
        trying.setblocking(False)
        trying.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(trying, where)
    except BaseException:
        trying.close()
        raise
    return trying, address


def _drop(attempts: Iterable[asyncio.Task[_Found]]) -> None:
    for attempt in attempts:
        attempt.cancel()
        attempt.add_done_callback(_close)


def _close(attempt: asyncio.Task[_Found]) -> None:
    """Close a connection that came too late, and retrieve an error that no caller waits for."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[0].close()
