"""One HTTP/1.1 connection: requests in, answers out, in every way an answer can go wrong."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Protocol, cast

import httptools

from simulator.in_flight import InFlight
from simulator.ledger import Ledger
from simulator.reply import BAD_REQUEST, TOO_LARGE, Reply, encode
from simulator.request import Request

_NO_LINGER = struct.pack("ii", 1, 0)
_LARGEST_BODY = 64 * 1024 * 1024


class Door(Protocol):
    """What a connection leads to."""

    def enter(self, exchange: Exchange, read_at: float) -> None:
        """Take a request whose last byte was read at the monotonic time `read_at`."""
        ...

    def leave(self, exchange: Exchange, *, answered: bool) -> None:
        """Hear that an exchange is over, its answer written or not."""
        ...

    def opened(self, connection: Connection) -> None:
        """Take note of a new connection."""
        ...

    def closed(self, connection: Connection) -> None:
        """Take note of the end of a connection."""
        ...


class Exchange:
    """A request and the ways to answer it; all of them do nothing once the client has gone."""

    __slots__ = ("_data", "connection", "gone", "keep_alive", "request", "visit")

    def __init__(self, connection: Connection, request: Request, *, keep_alive: bool) -> None:
        self.connection = connection
        self.request = request
        self.keep_alive = keep_alive
        self.visit: tuple[Ledger, int, InFlight] | None = None  # where it is written down, for the door
        self.gone = False
        self._data: bytes | None = None

    def reply(self, data: bytes) -> None:
        """Send an answer as soon as those before it are sent."""
        self._data = data
        self.connection.flush()

    def drip(self, data: bytes, seconds: float) -> None:
        """Send an answer byte by byte; at once where another answer of this connection is still to come."""
        if self.connection.is_next(self):
            self.connection.drip(self, data, seconds / max(1, len(data) - 1))
        else:
            self.reply(data)

    def close(self) -> None:
        """End the connection without an answer."""
        self.connection.close()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.connection.reset()

    def ready(self) -> bytes | None:
        """Return the answer, once there is one."""
        return self._data


class Connection(asyncio.Protocol):
    """Parse requests, also pipelined ones, and write their answers."""

    def __init__(self, door: Door, number: int) -> None:
        self.number = number
        self.used = False  # carried a provider call, for the door
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._exchanges: deque[Exchange] = deque()
        self._read_at = 0.0
        self._transport: asyncio.Transport
        self._parser: httptools.HttpRequestParser | None = None
        self._start_message()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to parse."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._door.opened(self)

    def data_received(self, data: bytes) -> None:
        """Read the clock first, then the bytes."""
        self._read_at = self._loop.time()
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # a fault of ours, not of the client
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(BAD_REQUEST)

    def connection_lost(self, exc: Exception | None) -> None:
        """Discard requests that were not answered."""
        del exc
        self._parser = None  # it refers back to this object
        while self._exchanges:
            self._leave(self._exchanges.popleft(), answered=False)
        self._door.closed(self)

    # What the parser calls

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body += body
        if len(self._body) > _LARGEST_BODY:
            self._refuse(TOO_LARGE)

    def on_message_complete(self) -> None:
        """Pass a complete request on."""
        parser = self._parser
        if parser is None:
            return
        request = Request(parser.get_method(), self._target, self._headers, self._body)
        self._start_message()
        exchange = Exchange(self, request, keep_alive=parser.should_keep_alive())
        self._exchanges.append(exchange)
        self._door.enter(exchange, self._read_at)

    # What exchanges call

    def is_next(self, exchange: Exchange) -> bool:
        """Return whether this exchange's answer is the next to be written."""
        return bool(self._exchanges) and self._exchanges[0] is exchange

    def flush(self) -> None:
        """Write the answers that are ready, in the order of their requests."""
        exchanges = self._exchanges
        while exchanges and (data := exchanges[0].ready()) is not None:
            exchange = exchanges.popleft()
            self._transport.write(data)
            self._leave(exchange, answered=not self._transport.is_closing())
            if not exchange.keep_alive:
                self.close()
                return

    def drip(self, exchange: Exchange, data: bytes, pause: float) -> None:
        """Write one byte, and the next after `pause` seconds."""
        if exchange.gone:
            return
        self._transport.write(data[:1])
        if len(data) <= 1:
            exchange.reply(b"")
        else:
            self._loop.call_later(pause, self.drip, exchange, data[1:], pause)

    def close(self) -> None:
        """Close the connection after the written data is sent."""
        self._parser = None
        self._transport.close()

    def reset(self) -> None:
        """Close the connection with a TCP reset, dropping written data."""
        sock = cast("socket.socket | None", self._transport.get_extra_info("socket"))
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._parser = None
        self._transport.abort()

    def _start_message(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body = b""

    def _refuse(self, reply: Reply) -> None:
        self._transport.write(encode(reply, b"", keep_alive=False))
        self.close()

    def _leave(self, exchange: Exchange, *, answered: bool) -> None:
        exchange.gone = True
        self._door.leave(exchange, answered=answered)
