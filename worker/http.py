"""HTTP to the providers: httpx's types and transport interface over aiohttp's connections.

The one file that knows an HTTP library. httpx's own pool walks all its connections for every request, which with some
hundred of them costs more than all else a worker does; aiohttp's does not.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from contextlib import AbstractAsyncContextManager
from typing import cast

import aiohttp
import httpx
from yarl import URL

from providers.base import Answer, SignedRequest
from tasks.report import InDoubt, NotSent

MAX_ANSWER = 256 * 1024
"""Bytes read of an answer; a provider's has a few hundred."""

_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Send httpx requests over aiohttp: keep-alive, bounded connections, no redirects, no cookies, TLS verified.

    Raises httpx's `TransportError`s: ConnectError, ConnectTimeout and UnsupportedProtocol when the request never left.
    Timeouts are seconds; the sum of both bounds the whole exchange, so that an answer which drips ends, too.
    """

    def __init__(
        self,
        *,
        connections: int,
        connect_timeout: float,
        read_timeout: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._longest = connect_timeout + read_timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=tls or ssl.create_default_context()),
            # aiohttp's other two timers would cost a request more than its signature does
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its whole answer."""
        try:
            async with asyncio.timeout(self._longest), self._send(request) as response:
                body = await _read(response, request)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(error, request) from error
        stream = httpx.ByteStream(body)
        return httpx.Response(response.status, headers=response.raw_headers, stream=stream, request=request)

    def _send(self, request: httpx.Request) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.request(
            request.method,
            # as signed: neither httpx nor aiohttp may write the query anew
            URL(request.extensions["target"], encoded=True),
            headers=[(name.decode("ascii"), value.decode("ascii")) for name, value in request.headers.raw],
            data=_content(request.stream) or None,
            allow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse, request: httpx.Request) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
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
        case aiohttp.ClientResponseError():
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

    async def send(self, signed: SignedRequest) -> Answer:
        """Send a signed request exactly as it is; NotSent or InDoubt when there is no answer."""
        request = httpx.Request(
            "POST",
            _place(signed.url.partition("?")[0]),
            headers=signed.headers,
            stream=httpx.ByteStream(signed.body),
            extensions={"target": signed.url},
        )
        try:
            response = await self._transport.handle_async_request(request)
        except _NEVER_LEFT as error:
            raise NotSent(f"{type(error).__name__}: {error}") from error
        except httpx.TransportError as error:
            raise InDoubt(f"{type(error).__name__}: {error}") from error
        headers = {
            name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers.raw
        }
        return Answer(response.status_code, headers, _content(response.stream))

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()
