"""The small HTTP server as its clients leave it."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Iterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker import health
from worker.health import HealthServer


@pytest.mark.parametrize(("stopping", "watched"), [(health.STOP_TIMEOUT, 5.0), (2.5, 1.5)])
async def test_a_request_without_its_end_does_not_delay_the_stop(
    stopping: float, watched: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body that was announced never comes; the stop waits as long as it is told to, by itself a minute."""
    monkeypatch.setattr(health, "STOP_TIMEOUT", stopping)
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


class Slow(Collector):
    """Figures that take until they are told to go on, at most two seconds; they tell whether they were."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def collect(self) -> Iterator[Metric]:
        """Yield the only figure."""
        self.asked.set()
        yield GaugeMetricFamily("told", "1 when told to go on.", float(self.go_on.wait(2)))


async def test_a_long_list_of_metrics_does_not_stop_the_loop() -> None:
    """While the text for /metrics is made the loop goes on: here it answers somebody else meanwhile."""
    slow, registry = Slow(), CollectorRegistry(auto_describe=False)
    registry.register(slow)
    server = HealthServer(registry, lambda: None, lambda: None)
    url = f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}"
    try:
        async with aiohttp.ClientSession() as client:
            scrape = asyncio.create_task(read(client, f"{url}/metrics"))
            assert await asyncio.to_thread(slow.asked.wait, 10)
            assert await read(client, f"{url}/healthz") == "alive\n"
            slow.go_on.set()
            assert (await scrape).endswith("told 1.0\n")
    finally:
        await server.stop()


async def read(client: aiohttp.ClientSession, url: str) -> str:
    """Return the text at an address."""
    async with client.get(url) as answer:
        return await answer.text()


SLOW = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.asynccontextmanager
async def guests(
    number: int, said: bytes
) -> AsyncGenerator[tuple[HealthServer, int, list[asyncio.StreamReader]]]:
    """Serve, and connect so many clients, each of which says so much and no more."""
    server = HealthServer(CollectorRegistry(), lambda: None, lambda: None)
    port = await server.start("127.0.0.1", 0)
    writers: list[asyncio.StreamWriter] = []
    readers: list[asyncio.StreamReader] = []
    try:
        for _ in range(number):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            readers.append(reader)
            writers.append(writer)
        yield server, port, readers
    finally:
        await server.stop()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def answer(port: int) -> bytes:
    """Return all that an honest client hears."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(WHOLE)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


async def ended(readers: list[asyncio.StreamReader], timeout: float) -> int:  # noqa: ASYNC109 - for asyncio.wait
    """Return how many of the connections were ended by the server within so many seconds."""
    waiting = [asyncio.create_task(reader.read()) for reader in readers]
    await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.ALL_COMPLETED)
    done = [task for task in waiting if task.done()]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return len(done)


@pytest.mark.parametrize("said", [b"", SLOW])
async def test_idle_connections_use_no_more_descriptors_than_there_are_places(said: bytes) -> None:
    """However many connect and say nothing, or never end their request, an honest one is answered at once."""
    async with guests(health.MOST + 40, said) as (_, port, readers):
        assert (await answer(port)).startswith(b"HTTP/1.1 200")
        assert await ended(readers[:41], 10) == 41


async def test_without_the_bound_every_connection_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with places for all of them none is ended."""
    monkeypatch.setattr(health, "MOST", 1000)
    async with guests(57, SLOW) as (_, port, readers):
        assert (await answer(port)).startswith(b"HTTP/1.1 200")
        assert await ended(readers, 0.5) == 0


async def test_a_connection_has_so_much_time_and_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never ends its request is ended, and so is one that was answered: it would lie idle."""
    monkeypatch.setattr(health, "CONNECTION_TIMEOUT", 0.3)
    async with guests(3, SLOW) as (_, port, readers):
        assert b"connection: close" in (await answer(port)).lower()
        assert await ended(readers, 10) == 3


@pytest.mark.parametrize(
    ("host", "answering", "silent"),
    [
        ("localhost", ["127.0.0.1", "::1"], ["127.0.0.2"]),
        ("*", ["127.0.0.1", "::1", "127.0.0.2"], []),
        ("::1", ["::1"], ["127.0.0.1"]),
        ("127.0.0.2", ["127.0.0.2"], ["127.0.0.1", "::1"]),
    ],
)
async def test_it_listens_where_it_is_told_to(host: str, answering: list[str], silent: list[str]) -> None:
    """On this machine alone, on one address, or on all, of both families, with the same port."""
    server = HealthServer(CollectorRegistry(), lambda: None, lambda: None)
    port = await server.start(host, 0)
    try:
        for address in answering:
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
            await writer.wait_closed()
        for address in silent:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(address, port)
    finally:
        await server.stop()
