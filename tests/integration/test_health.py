"""The small HTTP server as its clients leave it."""

import asyncio
import contextlib

import pytest
from prometheus_client import CollectorRegistry

from worker import health
from worker.health import HealthServer


@pytest.mark.parametrize(("stopping", "watched"), [(health.STOPPING, 5.0), (2.5, 1.5)])
async def test_a_request_without_its_end_does_not_delay_the_stop(
    stopping: float, watched: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body that was announced never comes; the stop waits as long as it is told to, by itself a minute."""
    monkeypatch.setattr(health, "STOPPING", stopping)
    server = HealthServer(CollectorRegistry(), lambda: None, lambda: None)
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    stop = asyncio.create_task(server.stop())
    try:
        done, _ = await asyncio.wait((stop,), timeout=watched)
        assert bool(done) == (stopping < watched)
    finally:
        with contextlib.suppress(ConnectionError):
            await stop
            writer.close()
            await writer.wait_closed()
