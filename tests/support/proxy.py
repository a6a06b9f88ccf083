"""A TCP proxy that stands between a client and its server and makes the network worse."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self


class Proxy:
    """Forward connections to `port` of 127.0.0.1, holding each answer back; `listen`: on that port, not any.

    `target` may be set to another port, for the connections to come. `delay` is seconds before each piece of an
    answer; `drip` sends answers byte by byte, each byte after the delay. Both may be set while connections are open.
    With `tls` clients have to speak TLS.
    """

    def __init__(
        self,
        port: int,
        *,
        listen: int = 0,
        delay: float = 0.0,
        drip: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.delay = delay
        self.drip = drip
        self._tls = tls
        self.target = port
        self._listener = socket.create_server(("127.0.0.1", listen))
        self._sockets: list[socket.socket] = []
        self._closed = False

    @property
    def url(self) -> str:
        """Where clients connect."""
        scheme = "redis" if self._tls is None else "rediss"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def cut(self) -> None:
        """Close every connection there is."""
        while self._sockets:
            victim = self._sockets.pop()
            try:
                victim.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def __enter__(self) -> Self:
        self._listener.settimeout(0.1)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
                client.settimeout(10)
                if self._tls is not None:
                    client = self._tls.wrap_socket(client, server_side=True)
                client.settimeout(None)
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                continue
            self._sockets += [client, server]
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with source:
            try:
                while data := source.recv(65536):
                    for piece in self._pieces(data, answers):
                        target.sendall(piece)
                target.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _pieces(self, data: bytes, answers: bool) -> Iterator[bytes]:
        pieces = [bytes([byte]) for byte in data] if answers and self.drip else [data]
        for piece in pieces:
            if answers:
                time.sleep(self.delay)
            yield piece
