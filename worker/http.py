"""HTTP to the providers: httpx's types and transport interface over aiohttp's connections.

The one file that knows an HTTP library. httpx's own pool walks all its connections for every request, which with some
hundred of them costs more than all else a worker does; aiohttp's does not.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from providers.base import Answer, SignedRequest
from tasks.report import InDoubt, NotSent, TooLate

MAX_ANSWER = 256 * 1024
"""Bytes read of an answer; a provider's has a few hundred."""

_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)


class Late(httpx.ConnectError):
    """A connection was there too late for the request to leave."""


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where requests go: the `Host` of each, and what tells aiohttp's connector where to connect to."""

    host: bytes
    request: aiohttp.ClientRequest


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Send httpx requests over aiohttp: keep-alive, bounded connections, no redirects, no cookies, TLS verified.

    Raises httpx's `TransportError`s: ConnectError, ConnectTimeout and UnsupportedProtocol when the request never left.
    Timeouts are seconds: until a connection is there, and until the whole answer is read, so that one which drips ends.

    aiohttp's connector opens and keeps the connections, its C parser reads the answers. The session between them is
    left out: it prepares cookies, redirects, proxies and traces, and costs more than all that.

    At the last moment, when a connection is there and nothing but the write is left to do, the extension `send_by` and
    `may_send` are asked whether it may leave still; if not, `Late` is raised and the connection is kept for the next.
    """

    def __init__(
        self,
        *,
        connections: int,
        connect_timeout: float,
        read_timeout: float,
        tls: ssl.SSLContext | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._may_send = may_send
        self._bound = _Bound(read_timeout)
        self._connecting = aiohttp.ClientTimeout(total=None, connect=connect_timeout)
        self._connector = aiohttp.TCPConnector(limit=connections, ssl=tls or True)
        self._destinations: dict[tuple[str, bytes, int | None], _Destination] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its whole answer."""
        try:
            return await self._exchange(request)
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            raise _translated(error, request) from error

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        to = self._destination(request.url)
        written = _written(request, to.host)
        connection = await self._connect(request, to)
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None or protocol.should_close:
                # nobody may take an answer that came before it was asked for as his own
                raise httpx.ConnectError("the connection was closed, or spoke out of turn", request=request)
            if time.monotonic() > request.extensions["send_by"] or not self._may_send():
                connection.release()
                raise Late("nothing was sent: the slot or the lease was over", request=request)
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            self._bound.begin(transport)
            try:
                transport.write(written)
                head, payload = await _answer(protocol)
                body = await _read(payload, request)
            finally:
                self._bound.end(transport)
        except BaseException:
            connection.close()  # one that was released is no more ours to close
            raise
        connection.release()
        stream = httpx.ByteStream(body)
        return httpx.Response(head.code, headers=head.raw_headers, stream=stream, request=request)

    async def _connect(self, request: httpx.Request, to: _Destination) -> aiohttp.connector.Connection:
        try:
            return await self._connector.connect(to.request, [], self._connecting)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(_text(error), request=request) from error

    def _destination(self, url: httpx.URL) -> _Destination:
        """Return where a request goes; the same for every one to a host."""
        origin = url.scheme, url.raw_host, url.port
        found = self._destinations.get(origin)
        if found is None:
            if url.scheme not in {"http", "https"}:
                raise aiohttp.InvalidURL(str(url))
            request = aiohttp.ClientRequest("POST", URL(str(url)), loop=asyncio.get_running_loop())
            found = self._destinations[origin] = _Destination(url.netloc, request)
        return found

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connector.close()


class _Bound:
    """Cut the connections whose answer takes longer than `seconds`.

    All have the same time, so they fall due in the order they began, and one timer does for all: one for each request
    is a tenth of what sending it costs.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Transport, float] = {}
        self._watched = False

    def begin(self, transport: asyncio.Transport) -> None:
        """Bound the exchange that begins now."""
        self._due[transport] = time.monotonic() + self._seconds
        if not self._watched:
            self._watch()

    def end(self, transport: asyncio.Transport) -> None:
        """Forget the exchange; TimeoutError when it was cut, whatever else it ended with."""
        if self._due.pop(transport, None) is None:
            raise TimeoutError

    def _watch(self) -> None:
        now = time.monotonic()
        late = [*itertools.takewhile(lambda transport: self._due[transport] <= now, self._due)]
        for transport in late:
            del self._due[transport]
        self._watched = bool(self._due)
        if self._watched:
            first = next(iter(self._due.values()))
            asyncio.get_running_loop().call_later(first - now, self._watch)
        for transport in late:
            transport.abort()


def _written(request: httpx.Request, host: bytes) -> bytes:
    """Return the request as it goes over the wire: as signed, with nothing added but the host and the length."""
    body = _content(request.stream)
    lines = [
        b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.extensions["target"]),
        b"Host: %b" % host,
        *(b"%b: %b" % header for header in request.headers.raw),
        b"Content-Length: %d" % len(body),
    ]
    head = b"\r\n".join(lines)
    if not head.count(b"\r") == head.count(b"\n") == len(lines) - 1:
        raise ValueError("a line break in a header")
    return b"%b\r\n\r\n%b" % (head, body)


async def _answer(protocol: ResponseHandler) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    """Return the head and the body of the answer; an interim one (1xx) only says that it is on its way."""
    while True:
        head, payload = await protocol.read()
        if head.code == 101 or not 100 <= head.code < 200:
            return head, payload


async def _read(payload: aiohttp.StreamReader, request: httpx.Request) -> bytes:
    body = b""
    while not payload.at_eof():
        body += await payload.readany()
        if len(body) > MAX_ANSWER:
            raise httpx.ReadError(f"the answer is longer than {MAX_ANSWER} bytes", request=request)
    return body


def _content(stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> bytes:
    """Return the bytes of a stream that holds them all; httpx's own `read` would look for a decoder first."""
    return b"".join(cast("httpx.ByteStream", stream))


def _translated(error: Exception, request: httpx.Request) -> httpx.TransportError:
    """Return httpx's word for an error of aiohttp's; ReadError for all that may have come after sending."""
    text = _text(error)
    match error:
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(text, request=request)
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout(text, request=request)
        case aiohttp.InvalidURL() | ValueError():
            return httpx.UnsupportedProtocol(text, request=request)
        case TimeoutError():
            return httpx.ReadTimeout(text, request=request)
        case _:
            return httpx.ReadError(text, request=request)


def _text(error: Exception) -> str:
    """Say what went wrong in one line, but not the address: its query holds the event."""
    match error:
        case HttpProcessingError():
            text = error.message
        case aiohttp.ClientError() | OSError() if not isinstance(error, aiohttp.InvalidURL):
            text = str(error)
        case _:
            text = ""
    return " ".join(text.split())[:200] or type(error).__name__


@functools.lru_cache(maxsize=256)
def _place(url: str) -> httpx.URL:
    """Return the address without its query, read once: reading one costs a tenth of a whole request."""
    return httpx.URL(url)


class HttpxClient:
    """The port `tasks.report.Http` over an httpx transport."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, signed: SignedRequest, send_by: float = math.inf) -> Answer:
        """Send a signed request exactly as it is; NotSent, TooLate or InDoubt when there is no answer."""
        place, mark, query = signed.url.partition("?")
        url = _place(place)
        request = httpx.Request(
            "POST",
            url,
            headers=signed.headers,
            stream=httpx.ByteStream(signed.body),
            # as signed: httpx would write the query anew
            extensions={"target": url.raw_path + f"{mark}{query}".encode("ascii"), "send_by": send_by},
        )
        try:
            response = await self._transport.handle_async_request(request)
        except Late as error:
            raise TooLate(str(error)) from None
        except _NEVER_LEFT as error:
            raise NotSent(f"{type(error).__name__}: {error}") from error
        except httpx.TransportError as error:
            raise InDoubt(f"{type(error).__name__}: {error}") from error
        return Answer(response.status_code, response.headers, _content(response.stream))

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()
