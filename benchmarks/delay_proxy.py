"""A network between a worker and Redis: every byte arrives a little later, in each direction.

    python -m benchmarks.delay_proxy PORT MILLISECONDS

It prints the port it listens on, and forwards to PORT until SIGTERM.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Callable


class Side(asyncio.Protocol):
    """One end of a connection; received bytes go to the other end after the delay."""

    def __init__(self, delay: float, connected: Callable[[Side], None] = lambda _: None) -> None:
        self._delay = delay
        self._connected = connected
        self._early: list[bytes] = []
        self._other: Side | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look for the other end."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connected(self)

    def join(self, other: Side) -> None:
        """Connect the other end, and pass it the bytes that came before."""
        self._other = other
        for data in self._early:
            other.write(data)

    def data_received(self, data: bytes) -> None:
        """Forward, later; timers of one delay keep their order."""
        asyncio.get_running_loop().call_later(self._delay, self._forward, data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end behind all that is under way."""
        del exc
        if self._other is not None:
            asyncio.get_running_loop().call_later(2 * self._delay, self._other.close)

    def write(self, data: bytes) -> None:
        """Send to this end."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close this end."""
        self._transport.close()

    def _forward(self, data: bytes) -> None:
        if self._other is None:
            self._early.append(data)
        else:
            self._other.write(data)


class DelayProxy:
    """Forward connections to `port` of 127.0.0.1; `delay` is seconds each way."""

    def __init__(self, port: int, delay: float) -> None:
        self._port = port
        self._delay = delay
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Listen on a free port, print it, and serve until killed."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Side(self._delay, self._accept), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    def _accept(self, front: Side) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(front))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, front: Side) -> None:
        loop = asyncio.get_running_loop()
        _, back = await loop.create_connection(lambda: Side(self._delay), "127.0.0.1", self._port)
        back.join(front)
        front.join(back)


def _precise_loop() -> asyncio.AbstractEventLoop:
    """Return a loop whose timers are not rounded up to whole milliseconds, as epoll's are."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_precise_loop) as runner:
        runner.run(DelayProxy(int(sys.argv[1]), float(sys.argv[2]) / 1000).serve())
