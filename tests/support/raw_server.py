"""An HTTP server without manners: it reads a request and writes whatever bytes a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field

from tests.support.wait import coming

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Case: Kept\r\n\r\nok"

Handler = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """Answer every request on a connection by `handler`; `requests` are all bytes that came, head and body."""

    handler: Handler
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    requests: list[bytes] = field(default_factory=list[bytes])
    connections: int = 0
    most_at_once: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _server: asyncio.Server | None = None
    url: str = ""

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self.tls)
        scheme = "https" if self.tls else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{scheme}://{host}:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await coming(lambda: not self._open)

    @property
    def open(self) -> int:
        """Return how many connections there are now."""
        return len(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        self.most_at_once = max(self.most_at_once, len(self._open))
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    self.requests.append(await _request(reader))
                    await self.handler(writer)
                    await writer.drain()
        finally:
            self._open.discard(writer)
            writer.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head + await reader.readexactly(length)


def parsed(request: bytes) -> tuple[str, dict[str, str], bytes]:
    """Return the request line, the headers by lower-case name (each once), and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *rows = head.decode().split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (row.partition(":") for row in rows)]
    assert len(dict(headers)) == len(headers), f"a header stands twice: {headers}"
    return line, dict(headers), body


def answering(*answers: bytes) -> Handler:
    """Write one of the answers after the other; the last one stays."""
    left = list(answers)

    async def handle(writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return handle


def closing(before: bytes = b"") -> Handler:
    """Write some bytes and close the connection."""

    async def handle(writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        writer.close()

    return handle


async def resetting(writer: asyncio.StreamWriter) -> None:
    """Reset the connection."""
    peer: socket.socket = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def silent(writer: asyncio.StreamWriter) -> None:
    """Never answer, until the client gives up."""
    await coming(writer.is_closing, deadline=120.0)


async def dripping(writer: asyncio.StreamWriter) -> None:
    """Begin a right answer and never come to its end: a byte now and then."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.02)


@contextlib.contextmanager
def full_backlog() -> Generator[str]:
    """Yield the URL of a port whose queue of connections is full, so that the next one gets no answer."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
