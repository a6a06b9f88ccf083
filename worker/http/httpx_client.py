"""The second engine: httpx's transport, for features that our own engine lacks."""

from __future__ import annotations

import asyncio
import copy
import math
import ssl
import time
from collections.abc import AsyncIterable, Callable
from functools import partial
from typing import cast

import httpx

from config.route import DIRECT, Route
from providers.base import Answer, SignedRequest
from tasks.report import InDoubt, NotSent, TooLate
from worker.http.hearing import Cancel, RequestTasks, Then
from worker.http.http1 import MAX_ANSWER, Headers, is_certificate_refused, request

_WRITES = "http11.send_request_headers.started"


class HttpxClient:
    """Send over an httpx transport; the setting HTTP_ENGINE documents what it does less well than our own engine.

    `send_by` and `may_send` are asked before the request is handed over, and httpx may connect after that; asked at
    the last moment, httpx would end the new connection of a request that is late, and the next would be late again.
    """

    def __init__(
        self,
        connections: int,
        connect_timeout: float,
        read_timeout: float,
        tls: ssl.SSLContext | None,
        may_send: Callable[[], bool],
    ) -> None:
        self._limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=15.0
        )
        self._tls = tls
        self._opened: list[httpx.AsyncHTTPTransport] = []
        self._transport = self._open(DIRECT)
        self._timeouts = dict.fromkeys(("pool", "connect"), connect_timeout) | {"write": read_timeout}
        self._read_timeout = read_timeout
        self._may_send = may_send
        self._tasks = RequestTasks()

    def by(self, route: Route) -> HttpxClient:
        """Return a client for another route without a proxy, with connections of its own.

        httpx would ask the proxy for the target of the request, which it has to send as it is signed.
        """
        client = copy.copy(self)
        client._transport = self._open(route)
        return client

    def _open(self, route: Route) -> httpx.AsyncHTTPTransport:
        transport = httpx.AsyncHTTPTransport(
            verify=self._tls or route.context(),
            limits=self._limits,
            local_address=route.source_address or None,
        )
        self._opened.append(transport)
        return transport

    def start(self, signed: SignedRequest, send_by: float, then: Then, /) -> Cancel:
        """Send a signed request exactly as it is; `then` hears its answer, or NotSent, TooLate or InDoubt."""
        return self._tasks.start(partial(self.send, signed, send_by), then)

    async def send(self, signed: SignedRequest, send_by: float = math.inf, /) -> Answer:
        """Send a signed request exactly as it is; NotSent, TooLate or InDoubt when there is no answer."""
        try:
            prepared = _prepared(signed)
        except (httpx.InvalidURL, ValueError) as error:
            raise NotSent(f"ConnectError: {error}") from None
        if time.monotonic() > send_by or not self._may_send():
            raise TooLate("nothing was sent: the slot or the lease was over")
        sent = False

        async def trace(event: str, _: object) -> None:
            nonlocal sent
            if event == _WRITES:
                sent = True
                bound.reschedule(asyncio.get_running_loop().time() + self._read_timeout)

        prepared.extensions |= {"timeout": self._timeouts, "trace": trace}
        try:
            async with asyncio.timeout(None) as bound:
                return await self._exchange(prepared)
        except (httpx.TransportError, OSError) as error:
            kind = "ReadTimeout" if isinstance(error, TimeoutError) else type(error).__name__
            refused = is_certificate_refused(error) or is_certificate_refused(error.__context__)
            text = f"{'ConnectError' if refused else kind}: {error}"[:200]
            raise (InDoubt(text) if sent and not refused else NotSent(text)) from error

    async def _exchange(self, prepared: httpx.Request) -> Answer:
        response = await self._transport.handle_async_request(prepared)
        body = b""
        try:
            async for part in cast("AsyncIterable[bytes]", response.stream):
                body += part
                if len(body) > MAX_ANSWER:
                    raise httpx.ReadError(f"the answer is longer than {MAX_ANSWER} bytes")
        finally:
            await response.aclose()
        return Answer(response.status_code, Headers(lambda: response.headers.raw), body)

    async def close(self) -> None:
        """End every connection, of all routes."""
        await self._tasks.end()
        for transport in self._opened:
            await transport.aclose()


def _prepared(signed: SignedRequest) -> httpx.Request:
    """Return the request in httpx's types, its target as signed: httpx would write path and query anew."""
    origin, target = signed.target()
    url = httpx.URL(origin)
    authority = url.netloc.decode("ascii")
    # raises for what may not be written
    request(signed.method, target, authority, signed.headers, signed.body)
    headers = (("Host", authority), *signed.headers, ("Content-Length", str(len(signed.body))))
    stream = httpx.ByteStream(signed.body)
    extensions = {"target": target.encode("ascii")}
    return httpx.Request(signed.method, url, headers=headers, stream=stream, extensions=extensions)
