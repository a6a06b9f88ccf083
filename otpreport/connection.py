"""One open connection to Redis that keeps a deadline.

Only this file and `address.py` import redis-py, which takes longer than the rest of this package. They are imported
when a Reporter is made, not with `otpreport`.
"""

from __future__ import annotations

import select
import selectors
import ssl
import time
from collections.abc import Callable, Sequence
from socket import socket
from typing import Any, Protocol, cast

from hiredis import HiredisError, Reader, ReplyError
from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError

from otpreport.address import absent_file, connection_pool, read
from otpreport.push import Unavailable
from otpreport.scheme import wrong_scheme

Place = tuple[str, int]
"""Host and port."""

_MORE = object()
"""What the parser returns while a reply is incomplete."""


class Poll(Protocol):
    """What waits for one socket, as `select.poll` does."""

    def poll(self, milliseconds: float, /) -> Sequence[object]:
        """Return what is ready, nothing after that time."""
        ...


class Connector:
    """Opens connections; ValueError for a wrong URL. `timeout` as for `connection_pool`."""

    def __init__(self, url: str, *, timeout: float) -> None:
        self._pool = connection_pool(url, timeout=timeout)
        self._address = read(url)
        self._was_open = False

    def __call__(self) -> Connection:
        """Return an open connection; blocks as the timeout allows; Unavailable or OSError."""
        try:
            connection = Connection(self._pool)
        except RedisError as error:
            # once it was right, the scheme is: an outage costs no second look
            wrong = "" if self._was_open else wrong_scheme(self._address, error)
            raise Unavailable(absent_file(self._address.options) or wrong or str(error)) from error
        self._was_open = True
        return connection

    @property
    def find_master(self) -> Callable[[], Place] | None:
        """What asks the sentinels for the master, and raises Unavailable or OSError; None where there are none."""
        ask: Callable[[], Place] | None = getattr(self._pool, "get_master_address", None)
        if ask is None:
            return None

        def find() -> Place:
            try:
                return ask()
            except RedisError as error:
                raise Unavailable(str(error)) from error

        return find


class Connection:
    """A connection that redis-py opened (TLS, user, database), written to and read from by deadline.

    redis-py sets a timeout for each read; a reply that drips in byte by byte would outlast any budget. So the
    socket is used directly here, and only here. Deadlines are seconds of `time.monotonic()`.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        """Connect and see Redis answer; blocks as the pool's timeouts allow; RedisError or OSError."""
        # redis-py leaves these signatures untyped.
        self._redis: Any = pool.connection_class(**pool.connection_kwargs)
        self._socket = self._opened()
        self._socket.settimeout(0)
        self._reader = Reader(notEnoughData=_MORE)
        self._next_reply = cast("Callable[[], object]", self._reader.gets)
        self._pending = cast("Callable[[], int]", getattr(self._socket, "pending", int))
        self._readable, self._writable = _pollers(self._socket)
        self.place: Place = getattr(self._redis, "host", ""), getattr(self._redis, "port", 0)
        self.used_at = time.monotonic()

    def _opened(self) -> socket:
        self._redis.connect()
        try:
            self._redis.send_command("PING", check_health=False)
            self._redis.read_response()
        except NoPermissionError:
            pass  # a user who may only LPUSH; the server answers, that is enough
        except BaseException:
            self._redis.disconnect()
            raise
        opened = cast("socket | None", self._redis._sock)
        if opened is None:
            raise RedisConnectionError("Connection closed by server.")
        return opened

    def is_quiet(self) -> bool:
        """Return whether an idle connection is open, as far as this machine knows: it has nothing to read."""
        return not self._readable.poll(0) or self._woke_for_ticket()

    def _woke_for_ticket(self) -> bool:
        """Return whether a woken poll was only a TLS session ticket, not a close or unexpected data."""
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def push(self, commands: bytes, count: int, deadline: float) -> list[str]:
        """Send commands; return "" or why Redis refused, for each of `count`; TimeoutError after `deadline`."""
        self._send(commands, deadline)
        return self._replies(count, deadline)

    def close(self) -> None:
        """Close the socket; in a forked child the parent's connection stays open."""
        self._redis.disconnect()
        for poller in (self._readable, self._writable):
            if isinstance(poller, _Selector):
                poller.close()

    def _send(self, data: bytes, deadline: float) -> None:
        rest: bytes | memoryview = data
        while rest:
            try:
                sent = self._socket.send(rest)
                rest = b"" if sent == len(rest) else memoryview(rest)[sent:]
            except (BlockingIOError, ssl.SSLWantWriteError):
                _wait(self._writable, deadline)
            except ssl.SSLWantReadError:
                _wait(self._readable, deadline)

    def _replies(self, count: int, deadline: float) -> list[str]:
        """Return "" or the error of each reply; ConnectionError for what is none: a proxy's error page, for example."""
        errors: list[str] = []
        late = False
        try:
            while len(errors) < count:
                if (reply := self._next_reply()) is not _MORE:
                    errors.append(str(reply) if isinstance(reply, ReplyError) else "")
                elif late:
                    raise TimeoutError("timed out")
                else:
                    self._reader.feed(self._receive(deadline))
                    late = time.monotonic() > deadline
        except HiredisError as error:
            raise ConnectionError(str(error)) from error
        return errors

    def _receive(self, deadline: float) -> bytes:
        """Return the next bytes; poll first, because Redis takes a while, unless TLS has buffered some."""
        ready = self._pending() > 0
        while True:
            if not ready:
                _wait(self._readable, deadline)
            try:
                received = self._socket.recv(4096)
            except (BlockingIOError, ssl.SSLWantReadError):
                ready = False
            except ssl.SSLWantWriteError:
                _wait(self._writable, deadline)
                ready = True
            else:
                if not received:
                    raise ConnectionResetError("connection closed by Redis")
                return received


class _Selector:
    """A poll for one event of one socket where `select.poll` is missing, as under eventlet."""

    def __init__(self, on: socket, event: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(on, event)

    def poll(self, milliseconds: float) -> Sequence[object]:
        """Wait as `select.poll` does."""
        return self._selector.select(milliseconds / 1000)

    def close(self) -> None:
        """Give back its descriptor."""
        self._selector.close()


def _pollers(on: socket) -> tuple[Poll, Poll]:
    """Return what waits until a socket can be read, and written."""
    if not hasattr(select, "poll"):
        return _Selector(on, selectors.EVENT_READ), _Selector(on, selectors.EVENT_WRITE)
    readable, writable = select.poll(), select.poll()
    readable.register(on, select.POLLIN)
    writable.register(on, select.POLLOUT)
    return readable, writable


def _wait(until: Poll, deadline: float) -> None:
    """Wait for the socket; TimeoutError after the deadline, unless it is ready: this process may have been stopped."""
    if not until.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError("timed out")
