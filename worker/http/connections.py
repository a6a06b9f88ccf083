"""The HTTP connections of a worker: bounded, kept alive, and waited for in order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from worker.http.dial import Place
from worker.http.http1 import HttpConnection

IDLE_TIMEOUT = 15.0
"""Seconds that a connection is kept without use: less than any server waits before it closes one."""


class Network(Protocol):
    """How a place is reached."""

    async def connect(self, place: Place, lost: Callable[[HttpConnection], None]) -> HttpConnection:
        """Return a new connection; OSError, or ValueError for a host that is no name, when there is none."""
        ...


class Connections:
    """At most `limit` connections, in use and kept; seconds bound the wait for one, and its idle time.

    Every connection that is taken must be given back, whatever happened to it.
    """

    def __init__(self, network: Network, *, limit: int, timeout: float, idle: float = IDLE_TIMEOUT) -> None:
        self._network = network
        self._limit = limit
        self._timeout = timeout
        self._longest_idle = idle
        self._left = limit  # while there are any, nobody waits
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open: set[HttpConnection] = set()
        self._idle: dict[Place, deque[tuple[float, HttpConnection]]] = {}  # the longest idle ones first
        self._watched: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None

    def kept(self, place: Place) -> HttpConnection | None:
        """Take a connection that is there and may be used again; None when there is none."""
        if self._left and (connection := self._latest(place)) is not None:
            self._left -= 1
            return connection
        return None

    async def new(self, place: Place) -> HttpConnection:
        """Take a connection when there may be one more; TimeoutError, OSError or ValueError when there is none."""
        async with asyncio.timeout(self._timeout):
            await self._turn()
            try:
                return self._latest(place) or await self._connect(place)
            except BaseException:
                self._pass_on()
                raise

    def give_back(self, place: Place, connection: HttpConnection) -> None:
        """Keep a connection, or end one on which the next answer might not be the next one's."""
        if connection.reusable:
            self._keep(place, connection)
        else:
            connection.cut()
        self._pass_on()

    async def close(self) -> None:
        """End every connection."""
        if self._watched is not None:
            self._watched.cancel()
        if self._open:
            self._emptied = asyncio.get_running_loop().create_future()
            for connection in list(self._open):
                connection.cut("the worker closed the connection")
            await self._emptied

    def _latest(self, place: Place) -> HttpConnection | None:
        idle = self._idle.get(place)
        while idle:
            _, connection = idle.pop()
            if connection.ready:
                return connection
            connection.cut()
        return None

    async def _connect(self, place: Place) -> HttpConnection:
        in_use = self._limit - self._left
        if in_use + sum(map(len, self._idle.values())) > self._limit:
            self._make_room()
        connection = await self._network.connect(place, self._lost)
        if not connection.reusable:
            raise ConnectionError("the new connection was closed, or spoke, before it was asked")
        self._open.add(connection)
        return connection

    def _lost(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        if self._emptied is not None and not self._open and not self._emptied.done():
            self._emptied.set_result(None)

    async def _turn(self) -> None:
        """Wait until there may be one more connection in use, first come first served."""
        if self._left:
            self._left -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._pass_on()  # it had come at the same moment
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._left += 1

    def _keep(self, place: Place, connection: HttpConnection) -> None:
        idle = self._idle.get(place)
        if idle is None:  # a deque made for nothing is dear
            idle = self._idle[place] = deque()
        idle.append((time.monotonic(), connection))
        if self._watched is None:
            self._watched = asyncio.get_running_loop().call_later(self._longest_idle, self._watch)

    def _watch(self) -> None:
        """Close connections that were idle for too long, with one timer for all."""
        now = time.monotonic()
        for idle in self._idle.values():
            while idle and idle[0][0] <= now - self._longest_idle:
                idle.popleft()[1].cut()
        since = min((idle[0][0] for idle in self._idle.values() if idle), default=None)
        self._watched = None
        if since is not None:
            self._watched = asyncio.get_running_loop().call_later(
                since + self._longest_idle - now, self._watch
            )

    def _make_room(self) -> None:
        idle = min((idle for idle in self._idle.values() if idle), key=lambda idle: idle[0][0])
        idle.popleft()[1].cut()
