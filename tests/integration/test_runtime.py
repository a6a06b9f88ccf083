import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis

import config
from otpreport.wire import encode
from tests.support.events import verification
from tests.support.wait import coming
from tests.unit.config.environment import GOOD
from worker.bridge import Bridge
from worker.embedded import EmbeddedValkey, free_port
from worker.engine import Engine
from worker.runtime import FAILED, Runtime


class LoneBridge(Bridge):
    """A bridge without Celery's side: it keeps the engine and the status it was ended with."""

    engine: Engine
    status: int | None = None

    def attach_engine(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        """Keep the engine."""
        super().attach_engine(engine, loop)
        self.engine = engine

    def end_worker(self, status: int) -> None:
        """Note the status."""
        self.status = status


@asynccontextmanager
async def running(url: str) -> AsyncGenerator[LoneBridge]:
    """Run everything that a worker has behind Celery."""
    environment = GOOD | {"OTPREPORT_REDIS_URL": url, "OTPREPORT_METRICS_PORT": "0"}
    runtime, bridge = Runtime(config.load(environment)), LoneBridge()
    await runtime.start(bridge)
    try:
        yield bridge
    finally:
        async with asyncio.timeout(20):
            await runtime.stop(1.0)


@pytest.fixture
async def bridge(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> AsyncIterator[LoneBridge]:
    """Run a worker on an empty server."""
    async with running(shared_valkey.url) as bridge:
        yield bridge


async def test_a_worker_whose_engine_failed_ends(bridge: LoneBridge) -> None:
    """A part that raises ends the whole worker, for a supervisor to start it anew; and the end does not hang."""
    assert bridge.status is None
    bridge.engine.serve(["no such account"])
    await coming(lambda: bridge.status == FAILED)


async def test_a_worker_that_works_goes_on(bridge: LoneBridge, valkey: redis.Redis) -> None:
    """A bad message is no reason to end."""
    valkey.lpush("otpreport.tencent", b"bad", encode(verification(), task_id="1")[:-1])
    bridge.engine.serve(["tencent"])
    await coming(lambda: valkey.hlen("otpreport:dead:tencent") == 2)
    assert bridge.status is None


async def test_a_worker_that_failed_at_its_beginning_ends(
    shared_valkey: EmbeddedValkey, valkey: redis.Redis
) -> None:
    """What nobody foresaw there ends it, too; else it would wait for ever, and say nothing."""
    valkey.hset("otpreport:groups", "@tencent", b"tencent:\xff")
    async with running(shared_valkey.url) as bridge:
        await coming(lambda: bridge.status == FAILED)


async def test_a_worker_that_is_stopped_at_its_beginning_has_not_failed() -> None:
    """It waits for Redis, and is told to stop."""
    async with running(f"redis://127.0.0.1:{free_port()}/0") as bridge:
        await asyncio.sleep(0)
    assert bridge.status is None
