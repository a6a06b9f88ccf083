"""CONNECT: ask a proxy for a tunnel to the provider (RFC 9110, 9.3.6)."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import cast

from config.proxy import ProxyServer

MAX_HEAD = 16 * 1024
"""Bytes of the proxy's answer, at most."""

_END = re.compile(rb"\r?\n\r?\n")


class Tunnel(asyncio.Protocol):
    """A connection to a proxy, until what is in the tunnel takes it over."""

    def __init__(self, proxy: ProxyServer) -> None:
        self._password = proxy.password
        pair = f"{proxy.user}:{proxy.password}".encode(errors="surrogateescape")
        self._credentials = base64.b64encode(pair).decode() if proxy.user or proxy.password else ""
        self._head = b""
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, target: str) -> None:
        """Ask for `host:port`; ConnectionError when the proxy refuses, or says something else."""
        self._transport.write(self._request(target))
        await self._opened
        self._transport.pause_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to ask."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read the head of the answer; in an open tunnel nothing may follow it, since we have said nothing yet."""
        self._head += data
        end = _END.search(self._head)
        if self._opened.done() or (end.start() if end else len(self._head)) > MAX_HEAD:
            self._fail("said more than its answer to CONNECT")
        elif end:
            line = self._head.partition(b"\n")[0].decode("latin-1").strip()
            self._read(line, self._head[end.end() :])

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self._fail(str(exc or "ended the connection"))

    def _read(self, line: str, rest: bytes) -> None:
        version, _, status = line.partition(" ")
        if not (version.startswith("HTTP/1.") and status[:1] == "2"):
            for secret in filter(None, (self._credentials, self._password)):
                status = status.replace(secret, "***")  # it may quote what it was sent
            shown = "".join(letter for letter in status[:80] if letter.isprintable())
            self._fail(f"answered {shown or 'no HTTP'} to CONNECT")
        elif rest:
            self._fail("said more than its answer to CONNECT")
        else:
            self._opened.set_result(None)

    def _fail(self, why: str) -> None:
        if not self._opened.done():
            self._opened.set_exception(ConnectionError(why))

    def _request(self, target: str) -> bytes:
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        if self._credentials:
            head += f"Proxy-Authorization: Basic {self._credentials}\r\n"
        return f"{head}\r\n".encode("ascii")
