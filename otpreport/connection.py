"""One open connection to Redis that keeps a deadline."""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from socket import socket
from typing import Any, cast

import hiredis
from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

_MORE = object()
"""What the parser returns while a reply is incomplete."""


class Unavailable(Exception):  # noqa: N818 - a state of Redis, not an error of ours
    """Redis did not take the write; `reason` says why, and whether it may have arrived after all."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Push:
    """Messages for the left end of one Redis list."""

    key: str
    messages: Sequence[bytes]

    def packed(self) -> bytes:
        """Return the LPUSH command in Redis' protocol."""
        command = ("LPUSH", self.key, *self.messages)
        return cast("bytes", hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub knows one item


class Connection:
    """A connection that redis-py opened (TLS, user, database), written to and read from by deadline.

    redis-py sets a timeout for each read; a reply that drips in byte by byte would outlast any budget. So the
    socket is used directly here, and only here. Deadlines are seconds of `time.monotonic()`.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        """Connect and see Redis answer; blocks as the pool's timeouts allow, raises redis-py's errors."""
        # redis-py leaves these signatures untyped.
        self._redis: Any = pool.connection_class(**pool.connection_kwargs)
        self._redis.connect()
        try:
            self._redis.send_command("PING", check_health=False)
            self._redis.read_response()
        except NoPermissionError:
            pass  # a user who may only LPUSH; the server answers, that is enough
        except BaseException:
            self._redis.disconnect()
            raise
        self._socket = self._open_socket()
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def _open_socket(self) -> socket:
        opened = cast("socket | None", self._redis._sock)
        if opened is None:
            raise RedisConnectionError("Connection closed by server.")
        return opened

    def is_quiet(self) -> bool:
        """Tell whether an idle connection is open as far as this machine knows: it has nothing to read."""
        return not self._poll.poll(0) or self._has_nothing_to_say()

    def _has_nothing_to_say(self) -> bool:
        """Tell a TLS session ticket, which wakes the poll, from a closed or confused connection."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def push(self, pushes: Sequence[Push], deadline: float) -> list[str]:
        """Write to lists; return "" or why Redis refused, for each; TimeoutError after `deadline`."""
        self._send(b"".join(push.packed() for push in pushes), deadline)
        return [self._reply(deadline) for _ in pushes]

    def close(self) -> None:
        """Close the socket; in a forked child the parent's connection stays open."""
        self._redis.disconnect()

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._socket.settimeout(_remaining(deadline))
            view = view[self._socket.send(view) :]

    def _reply(self, deadline: float) -> str:
        while (reply := self._parsed()) is _MORE:
            self._socket.settimeout(_remaining(deadline))
            received = self._socket.recv(4096)
            if not received:
                raise ConnectionResetError("connection closed by Redis")
            self._reader.feed(received)
        return str(reply) if isinstance(reply, hiredis.ReplyError) else ""

    def _parsed(self) -> object:
        """Return the next reply; ConnectionError where it is none: a proxy's error page, for example."""
        try:
            return cast("object", self._reader.gets())
        except hiredis.HiredisError as error:
            raise ConnectionError(str(error)) from error


def _remaining(deadline: float) -> float:
    """Return the seconds left; TimeoutError when there are none, for 0 would mean a non-blocking socket."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds
