"""`otpreport ready`: what a process says of itself, for a container without curl."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from tests.support.command import Ran, call
from worker.embedded import free_port
from worker.health import HealthServer

URL = "redis://127.0.0.1:9/0"
"""Nobody listens there: the command asks no Redis."""


class Process:
    """What a worker or exporter serves, with what keeps it from its work."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.port = 0
        self._server = HealthServer(CollectorRegistry(), lambda: self.fault, lambda: None)

    async def start(self) -> None:
        """Serve on a free port."""
        self.port = await self._server.start("127.0.0.1", 0)

    async def stop(self) -> None:
        """Stop serving."""
        await self._server.stop()


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    """Yield a process that serves."""
    process = Process()
    await process.start()
    yield process
    await process.stop()


async def ready(*arguments: str, port: int, **env: str) -> Ran:
    """Run the command where the settings name this port."""
    return await asyncio.to_thread(
        call, URL, "ready", *arguments, env={"OTPREPORT_METRICS_PORT": str(port), **env}
    )


async def test_it_says_what_the_process_says(process: Process) -> None:
    """Status 0 and `ready`; else 1 and the reason; past any proxy."""
    ran = await ready(port=process.port, http_proxy="http://127.0.0.1:9")
    assert (ran.status, ran.out, ran.err) == (0, "ready\n", "")
    process.fault = "redis is unreachable"
    ran = await ready(port=process.port)
    assert (ran.status, ran.out, ran.err) == (1, "redis is unreachable\n", "")


async def test_a_port_by_hand_needs_no_settings(process: Process) -> None:
    """`--port` goes before the settings, which then need not be whole."""
    ran = await asyncio.to_thread(call, None, "ready", "--port", str(process.port))
    assert (ran.status, ran.out) == (0, "ready\n")


async def test_nobody_listens() -> None:
    """One line that says where, and status 1."""
    port = free_port()
    ran = await ready(port=port)
    assert (ran.status, ran.out) == (1, "")
    assert ran.line.startswith(f"127.0.0.1:{port} does not answer: ")


async def test_something_else_listens() -> None:
    """What is no HTTP is one line, too."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"-ERR unknown command\r\n")

        babbling = asyncio.create_task(asyncio.to_thread(babble))
        ran = await ready(port=server.getsockname()[1])
        await babbling
    assert (ran.status, ran.out) == (1, "")
    assert "does not answer" in ran.line


async def test_any_port_is_no_port_to_ask() -> None:
    """With METRICS_PORT 0 nobody knows the port: status 2, and what to do."""
    ran = await ready(port=0)
    assert (ran.status, ran.out) == (2, "")
    assert ran.line == "metrics_port is 0, any free port: take it from the log and give --port"
