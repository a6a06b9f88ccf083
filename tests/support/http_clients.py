"""HTTP clients for tests, and what they send."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from config.settings import HttpEngine
from providers import Answer, SignedRequest
from tests.support.certificates import Authority
from tests.support.raw_server import Handler, RawServer
from worker.http.client import HttpClient, http_client

QUERY = (
    "?Action=SmsConversion&To=%2B86&Empty=&Tilde=~&Percent=%7E&Slash=a%2Fb&Space=a%20b&Plus=a%2Bb&Star=%2A"
)
SECRET = "AKIDSECRET"


@dataclass(frozen=True)
class Clients:
    """Clients of one engine, each closed at its end."""

    engine: HttpEngine = "builtin"

    @contextlib.asynccontextmanager
    async def __call__(
        self,
        *,
        connections: int = 10,
        connect: float = 5.0,
        read: float = 5.0,
        tls: ssl.SSLContext | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> AsyncGenerator[HttpClient]:
        """Yield a client; its timeouts in seconds."""
        client = http_client(
            self.engine,
            connections=connections,
            connect_timeout=connect,
            read_timeout=read,
            tls=tls,
            may_send=may_send,
        )
        try:
            yield client
        finally:
            await client.close()

    async def exchange(self, handler: Handler, *, read: float = 5.0) -> Answer:
        """Send one request to a server that behaves so."""
        async with RawServer(handler) as server, self(read=read) as sender, asyncio.timeout(30):
            return await sender.send(signed(server.url + QUERY))


def signed(url: str, body: bytes = b"{}") -> SignedRequest:
    """Return a request with headers of both providers' kinds."""
    headers = (
        ("Authorization", f"TC3 {SECRET}"),
        ("Content-Type", "application/json"),
        ("x-acs-version", "1"),
    )
    return SignedRequest(url, headers, body)


def server_context(folder: Path) -> ssl.SSLContext:
    """Return a server's context with a certificate for 127.0.0.1, signed by an authority of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Authority(folder).sign("server"))
    return context


def trusting(folder: Path) -> ssl.SSLContext:
    """Return the context of who trusts that authority."""
    return ssl.create_default_context(cafile=str(folder / "authority.pem"))
