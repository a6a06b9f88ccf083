"""The message is plain Celery: a stock worker reads ours, we read a stock producer's."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from celery import Celery, chain, group

from otpreport import Reporter, Verification
from otpreport.wire import queue_keys
from tasks.message import MalformedMessage, Task, decode
from tests.support.admin import admin
from tests.support.events import verification
from tests.support.wait import until
from worker.embedded import EmbeddedValkey

EVENT = verification().to_wire()


@pytest.fixture
def producer(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> Iterator[Celery]:
    """Return a stock Celery app on an empty server."""
    with Celery("producer", broker=shared_valkey.url, set_as_current=False) as app:
        yield app


def send(producer: Celery, **options: Any) -> None:
    """Send the task as any app would."""
    producer.send_task("otpreport.report", kwargs={"event": EVENT}, queue="otpreport.tencent", **options)


def only_message(valkey: redis.Redis, priority_step: int = 0) -> bytes:
    """Return the one message there is, from the list it must be in."""
    lists = queue_keys("", "tencent")
    lengths = [admin(valkey).llen(key) for key in lists]
    assert lengths == [int(index == priority_step) for index in range(len(lists))]
    return cast("bytes", admin(valkey).lindex(lists[priority_step], 0))


def received(valkey: redis.Redis) -> Task:
    """Return the one message there is, decoded."""
    return decode(only_message(valkey))


def test_plain(producer: Celery, valkey: redis.Redis) -> None:
    """A task sent by a stock app is in the list we read, and is read."""
    send(producer, task_id="an-id")
    task = received(valkey)
    assert (task.task, task.task_id, task.args) == ("otpreport.report", "an-id", [])
    assert task.kwargs == {"event": EVENT}
    assert (task.eta_ms, task.expires_ms) == (None, None)


@pytest.mark.parametrize("priority", range(10))
def test_priorities(producer: Celery, valkey: redis.Redis, priority: int) -> None:
    """Whatever the priority, the message is in one of the four lists we read."""
    send(producer, priority=priority)
    assert decode(only_message(valkey, priority // 3)).kwargs == {"event": EVENT}


def test_countdown_and_expires(producer: Celery, valkey: redis.Redis) -> None:
    """A countdown arrives as a time, so does a time to live."""
    now = datetime.now(UTC).timestamp() * 1000
    send(producer, countdown=100, expires=1000)
    task = received(valkey)
    assert task.eta_ms is not None
    assert task.expires_ms is not None
    assert task.eta_ms == pytest.approx(now + 100_000, abs=60_000)
    assert task.expires_ms == pytest.approx(now + 1_000_000, abs=60_000)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 5, 1, 12, 0, tzinfo=UTC),
        datetime(2026, 5, 1, 20, 0, tzinfo=timezone(timedelta(hours=8))),
    ],
)
def test_eta(producer: Celery, valkey: redis.Redis, moment: datetime) -> None:
    """An eta and an expiry given as times are read to the millisecond."""
    send(producer, eta=moment, expires=moment)
    task = received(valkey)
    assert (task.eta_ms, task.expires_ms) == (1777636800000, 1777636800000)


@pytest.mark.parametrize("options", [{"serializer": "pickle"}, {"compression": "gzip"}])
def test_not_ours(producer: Celery, valkey: redis.Redis, options: dict[str, Any]) -> None:
    """A serializer or a compression we do not read is malformed, not a crash."""
    send(producer, **options)
    with pytest.raises(MalformedMessage):
        received(valkey)


def test_local_times(producer: Celery, valkey: redis.Redis) -> None:
    """What a producer gives in its own time travels without a zone, and is not obeyed."""
    producer.conf.update(enable_utc=False, timezone="America/New_York")
    local = datetime(2026, 5, 1, 12, 0)  # noqa: DTZ001 - naive, that is the fault
    send(producer, eta=local, expires=local)
    task = received(valkey)
    assert (task.eta_ms, task.expires_ms, task.ignored) == (None, None, ("eta", "expires"))


@pytest.mark.parametrize("local", [True, False])
def test_countdown_of_a_producer_without_utc(producer: Celery, valkey: redis.Redis, *, local: bool) -> None:
    """A countdown has a zone, whatever the producer's is."""
    producer.conf.update(enable_utc=not local, timezone="America/New_York")
    now = datetime.now(UTC).timestamp() * 1000
    send(producer, countdown=100, expires=1000)
    task = received(valkey)
    assert task.eta_ms == pytest.approx(now + 100_000, abs=60_000)
    assert task.expires_ms == pytest.approx(now + 1_000_000, abs=60_000)


def test_protocol_1(producer: Celery, valkey: redis.Redis) -> None:
    """The old protocol, which clients of other languages speak, is read."""
    producer.conf.task_protocol = 1
    send(producer, task_id="an-id", countdown=100, link=producer.signature("shop.reported"))
    task = received(valkey)
    assert (task.task, task.task_id, task.args, task.kwargs) == (
        "otpreport.report",
        "an-id",
        [],
        {"event": EVENT},
    )
    assert task.eta_ms is not None
    assert task.ignored == ("link",)


def test_a_datetime_in_the_event(producer: Celery, valkey: redis.Redis) -> None:
    """A producer gives times to a Celery task as datetimes; in the event they are read."""
    moment = datetime(2026, 5, 1, 20, 0, 0, 113_000, tzinfo=timezone(timedelta(hours=8)))
    event = EVENT | {"occurred_at": moment, "sent_at": moment}
    producer.send_task("otpreport.report", args=[event], queue="otpreport.tencent")
    read = Verification.from_wire(cast("dict[str, Any]", received(valkey).args[0]))
    assert (read.occurred_at, read.sent_at) == (moment, moment)


def test_canvas(producer: Celery, valkey: redis.Redis) -> None:
    """Chains, groups, chords, callbacks and requested results are seen in the messages of stock Celery."""
    options = {"queue": "otpreport.tencent"}
    report = producer.signature("otpreport.report", kwargs={"event": EVENT}, immutable=True, options=options)
    after = producer.signature("shop.reported", immutable=True, options={"queue": "shop"})
    report.apply_async()
    assert received(valkey).ignored == ()
    asked: dict[tuple[str, ...], Callable[[], object]] = {
        ("chain",): chain(report, after).apply_async,
        ("group",): group([report]).apply_async,
        ("link", "link_error"): lambda: report.apply_async(link=after, link_error=after),
        ("result",): lambda: send(producer, ignore_result=False),
    }
    for ignored, ask in asked.items():
        admin(valkey).flushdb()
        ask()
        assert received(valkey).ignored == ignored


def test_without_base64(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> None:
    """A producer that switched kombu's base64 off is read."""
    with Celery("plain", broker=shared_valkey.url, set_as_current=False) as producer:
        producer.conf.broker_transport_options = {"body_encoding": None}
        send(producer)
        assert received(valkey).kwargs == {"event": EVENT}


def test_key_prefix(producer: Celery, valkey: redis.Redis) -> None:
    """Kombu's global_keyprefix puts the message where our key prefix looks for it."""
    producer.conf.broker_transport_options = {"global_keyprefix": "app:"}
    send(producer)
    assert admin(valkey).llen(queue_keys("app:", "tencent")[0]) == 1


@pytest.fixture
def stock_worker(shared_valkey: EmbeddedValkey, valkey: redis.Redis, tmp_path: Path) -> Iterator[Path]:
    """Run a stock Celery worker on the tencent queue; return its log."""
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", "tests.support.stock_celery", "worker"]
    command += ["--pool", "solo", "--loglevel", "info", "--without-gossip", "--without-mingle"]
    environment = os.environ | {"STOCK_BROKER": shared_valkey.url, "STOCK_PORT": str(shared_valkey.port)}
    with log.open("wb") as output:
        worker = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield log
        finally:
            worker.terminate()
            worker.wait(timeout=30)


def test_stock_worker(stock_worker: Path, shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> None:
    """A stock Celery worker runs what the reporter wrote, one by one or many at once, and acknowledges it."""
    with Reporter(shared_valkey.url, spool=False, timeout=20.0) as reporter:
        reporter.report(verification(1))
        reporter.report_many([verification(2), verification('Ünïcode "3"')])
    server = admin(valkey)
    until(lambda: server.llen("seen") == 3, deadline=60)
    assert [line.decode() for line in server.lrange("seen", 0, -1)] == [
        f"{name} 1777636800000 True" for name in ("1", "2", 'Ünïcode "3"')
    ]
    until(lambda: server.exists("unacked", "otpreport.tencent") == 0)
    assert "ERROR" not in stock_worker.read_text()
