import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import redis

import config
from config.settings import Settings
from otpreport import Verification
from otpreport.wire import encode
from tasks.delivery import Delivery
from tasks.queue.fitness import FORMAT
from tests.support.admin import admin
from tests.support.events import verification
from tests.support.wait import coming
from tests.unit.config.environment import GOOD
from worker.bridge.handover import Bridge
from worker.embedded import EmbeddedValkey, free_port
from worker.engine import Engine
from worker.runtime import FAILED, WRONG, Runtime


class LoneBridge(Bridge):
    """A bridge without Celery's side: it keeps the engine and the status it was ended with."""

    engine: Engine
    status: int | None = None

    def attach_engine(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        """Keep the engine."""
        super().attach_engine(engine, loop)
        self.engine = engine

    def hand_over(self, deliveries: list[Delivery]) -> None:
        """Hand back at once, as a consumer would."""
        self.engine.start(deliveries)

    def end_worker(self, status: int) -> None:
        """Note the status."""
        self.status = status


class FaultyRuntime(Runtime):
    """A worker that fails where it begins."""

    async def _enter_groups(self) -> Settings:
        """Raise what nobody foresees."""
        raise LookupError


@asynccontextmanager
async def running(url: str, kind: type[Runtime] = Runtime) -> AsyncGenerator[LoneBridge]:
    """Run everything that a worker has behind Celery."""
    own = {"REDIS_URL": url, "METRICS_PORT": "0", "ACCOUNTS__TENCENT__ENDPOINT": "http://127.0.0.1:9"}
    environment = GOOD | {f"OTPREPORT_{name}": value for name, value in own.items()}
    runtime, bridge = kind(config.load(environment)), LoneBridge()
    await runtime.start(bridge, [])
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
    bridge.serve(frozenset({"no such account"}))
    await coming(lambda: bridge.status == FAILED)


async def test_a_worker_that_works_goes_on(bridge: LoneBridge, valkey: redis.Redis) -> None:
    """A bad message is no reason to end."""
    valkey.lpush("otpreport.tencent", b"bad", encode(verification(), task_id="1")[:-1])
    bridge.serve(frozenset({"tencent"}))
    await coming(lambda: valkey.hlen("otpreport:dead:tencent") == 2)
    assert bridge.status is None


async def test_a_worker_that_failed_at_its_beginning_ends(shared_valkey: EmbeddedValkey) -> None:
    """What nobody foresaw there ends it, too; else it would wait for ever, and say nothing."""
    async with running(shared_valkey.url, FaultyRuntime) as bridge:
        await coming(lambda: bridge.status == FAILED)


def groups(server: redis.Redis) -> dict[bytes, bytes]:
    """Return the rate groups that Redis knows."""
    return dict(admin(server).hgetall("otpreport:groups"))


async def test_a_worker_enters_its_groups_again(
    bridge: LoneBridge, valkey: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis was emptied: the limiter in use gets its name back, and the log says at error level what happened."""
    bridge.serve(frozenset({"tencent"}))
    await coming(lambda: b"epoch" in admin(valkey).hgetall("otpreport:maintenance"))
    before = groups(valkey)
    admin(valkey).hset("otpreport:account:tencent", "state", "held")
    await coming(lambda: "account paused" in caplog.messages)
    admin(valkey).flushdb()
    await coming(lambda: groups(valkey) == before)
    [record] = [record for record in caplog.records if record.message == "redis lost data"]
    assert record.levelname == "ERROR"
    assert record.__dict__["fields"]["operator_states_before"] == "tencent paused"
    assert bridge.status is None


async def test_a_worker_joins_the_limiter_of_a_newcomer(bridge: LoneBridge, valkey: redis.Redis) -> None:
    """Redis was emptied, and a worker that knows a newer key was there first: all use the group that it entered."""
    await coming(lambda: b"epoch" in admin(valkey).hgetall("otpreport:maintenance"))
    newer = b"tencent:sms.tencentcloudapi.com:newer"
    pipe = admin(valkey).pipeline()
    pipe.flushdb().hset("otpreport:groups", mapping={newer: newer, "@tencent": newer})
    pipe.execute()
    await coming(lambda: len(groups(valkey)) > 2)
    assert set(groups(valkey).values()) == {newer}
    bridge.serve(frozenset({"tencent"}))
    event = Verification(account="tencent", message_id="1", occurred_at=datetime.now(UTC))
    valkey.lpush("otpreport.tencent", encode(event, task_id="1"))
    await coming(lambda: admin(valkey).keys("otpreport:rate:*"))
    assert admin(valkey).keys("otpreport:rate:*") == [b"otpreport:rate:" + newer]


async def test_a_newcomer_lets_those_that_remember_come_first(
    shared_valkey: EmbeddedValkey, valkey: redis.Redis
) -> None:
    """Workers are there and Redis knows no group: a limiter of its own would be a second one."""
    valkey.zadd("otpreport:workers", {"another": 9e12})
    async with running(shared_valkey.url) as bridge:
        await coming(lambda: valkey.exists("otpreport:workers"))
        older = b"tencent:sms.tencentcloudapi.com:older"
        valkey.hset("otpreport:groups", mapping={older: older, "@tencent": older})
        await coming(lambda: len(groups(valkey)) > 2)
        assert set(groups(valkey).values()) == {older}
        assert bridge.status is None


async def test_a_worker_that_meets_a_newer_format_ends(
    bridge: LoneBridge, valkey: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """With status 2 and one line, at once; and one that starts then does not begin."""
    await coming(lambda: b"format" in admin(valkey).hgetall("otpreport:maintenance"))
    valkey.hset("otpreport:maintenance", "format", FORMAT + 1)
    await coming(lambda: bridge.status == WRONG)
    port = valkey.connection_pool.connection_kwargs["port"]
    async with running(f"redis://127.0.0.1:{port}/0") as another:
        await coming(lambda: another.status == WRONG)
    told = [
        record.__dict__["fields"]["reason"]
        for record in caplog.records
        if record.message == "redis is not fit"
    ]
    assert len(told) == 2
    assert "of a newer version" in told[0]


async def test_a_worker_that_is_stopped_at_its_beginning_has_not_failed() -> None:
    """It waits for Redis, and is told to stop."""
    async with running(f"redis://127.0.0.1:{free_port()}/0") as bridge:
        await asyncio.sleep(0)
    assert bridge.status is None
