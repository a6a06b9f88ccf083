"""One connection to Redis for the scripts: calls go out at once and are answered in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import hiredis
from redis._parsers import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

_MORE = object()
"""What the parser returns while a reply is incomplete."""

DEMOTED = ("READONLY", "MASTERDOWN", "NOREPLICAS")
"""Refusals of a server that is no longer a master, or has lost its replicas."""


def demotion(error: Exception, place: str) -> RedisConnectionError | None:
    """Return what to raise for a refusal that only another server would not give; None for any other error."""
    code: str = getattr(error, "status_code", None) or str(error)
    if code.partition(" ")[0] not in DEMOTED:
        return None
    return RedisConnectionError(f"{place} is no master to write to: {error}")


class Opened(Protocol):
    """A connection opened by redis-py, for our use alone."""

    @property
    def place(self) -> str:
        """Host and port, or the socket's file."""
        ...

    @property
    def is_current(self) -> bool:
        """Whether this is still the server to talk to."""
        ...

    def give_away(self) -> asyncio.StreamWriter:
        """Return the stream, which is the caller's from now on."""
        ...


class ScriptConnection(asyncio.Protocol):
    """Take over a connection from redis-py and call scripts over it; `timeout` is in seconds, for each call.

    redis-py connects, logs in and selects the database. After that its streams, locks and pool cost a call five times
    what Redis' protocol needs, so the transport gets another protocol: this one. A call that is cancelled leaves its
    place in the line, and its reply is dropped. Where one reply is late, all that wait fail: nothing can overtake it.
    """

    def __init__(self, opened: Opened, timeout: float) -> None:
        self._opened = opened
        self._place = opened.place
        self._timeout = timeout
        errors: Any = BaseParser
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=errors.parse_error, notEnoughData=_MORE
        )
        self._waiting: deque[tuple[asyncio.Future[object], float]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._retired = False
        self._writer = opened.give_away()  # kept: a stream that is dropped closes its transport
        self._transport = cast("asyncio.Transport", self._writer.transport)
        self._transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """Whether another call may go out: the connection is open, and leads to the server to talk to."""
        return not self._retired and not self._transport.is_closing() and self._opened.is_current

    def call(self, packed: bytes) -> asyncio.Future[object]:
        """Write one command and return its reply to come; it ends with an error of redis-py's."""
        future: asyncio.Future[object] = self._loop.create_future()
        if self._transport.is_closing():
            future.set_exception(RedisConnectionError(f"{self._place}: the connection was closed"))
            return future
        self._waiting.append((future, self._loop.time() + self._timeout))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._watch)
        try:
            self._transport.write(packed)
        except RuntimeError as error:  # uvloop, of a transport that has ended before it said so
            self._fail(RedisConnectionError(f"{self._place}: {error}"))
        return future

    def retire(self) -> None:
        """Take no more calls; close after the answers to those under way."""
        self._retired = True
        if not self._waiting:
            self.close()

    def close(self) -> None:
        """Close the connection; pending calls fail."""
        self._fail(RedisConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Pass each complete reply to the call that waits for it."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _MORE:
                future, _ = self._waiting.popleft()
                self._answer(future, reply)
        except IndexError:
            self._fail(InvalidResponse("a reply that nobody asked for"))
        except RedisError as error:
            self._fail(error)
        if self._retired and not self._waiting:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the pending calls."""
        why = exc or "connection closed by server"
        self._fail(RedisConnectionError(f"{self._place}: {why}"))

    def _answer(self, future: asyncio.Future[object], reply: object) -> None:
        if isinstance(reply, Exception):
            reply = demotion(reply, self._place) or reply
            self._retired = self._retired or isinstance(reply, RedisConnectionError)
            if not future.done():
                future.set_exception(reply)
        elif not future.done():
            future.set_result(reply)

    def _watch(self) -> None:
        """Fail when the oldest call is overdue; else look again when it will be."""
        self._timer = None
        if not self._waiting:
            return
        _, due = self._waiting[0]
        if due <= self._loop.time():
            self._fail(RedisTimeoutError(f"{self._place}: no reply within {self._timeout:g} s"))
        else:
            self._timer = self._loop.call_at(due, self._watch)

    def _fail(self, error: RedisError) -> None:
        self._retired = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if not future.done():
                future.set_exception(error)
        self._transport.abort()


class Scripts:
    """Call scripts over one connection, opened when needed; concurrent callers wait for the same one."""

    def __init__(self, open_one: Callable[[], Awaitable[Opened]], timeout: float) -> None:
        self._open_one = open_one
        self._timeout = timeout
        self._connection: ScriptConnection | None = None
        self._opening: asyncio.Task[ScriptConnection] | None = None

    def call(self, *command: str | bytes | int) -> Awaitable[object]:
        """Return the reply to come; redis-py's errors, when it can't connect, too."""
        untyped: Any = hiredis
        packed: bytes = untyped.pack_command(command)
        connection = self._connection
        if connection is not None and connection.is_usable:
            return connection.call(packed)
        return self._call_again(packed)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._opening is not None:
            self._opening.cancel()
            with contextlib.suppress(asyncio.CancelledError, RedisError, OSError):
                await self._opening
        if self._connection is not None:
            self._connection.close()

    async def _call_again(self, packed: bytes) -> object:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
        connection = await asyncio.shield(self._opening)
        return await connection.call(packed)

    async def _open(self) -> ScriptConnection:
        if self._connection is not None:
            self._connection.retire()
        try:
            self._connection = ScriptConnection(await self._open_one(), self._timeout)
        except RuntimeError as error:  # uvloop, of a connection that ended while it was opened
            raise RedisConnectionError(str(error)) from error
        return self._connection
