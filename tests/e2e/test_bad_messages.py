"""Bad messages: each gets what the Contract says, the bytes are kept, and the worker goes on."""

import base64
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, chain

from otpreport import Verification
from otpreport.wire import encode
from tasks.shared import MAX_BYTES
from tests.support.fleet import ALIBABA, LONG, TENCENT, Fleet
from tests.support.leased import message
from tests.support.wait import until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Yield processes with one worker, which all bad messages of this file have to leave alive."""
    with Fleet(tmp_path_factory.mktemp("fleet"), TENCENT, ALIBABA, settings=LONG) as running:
        running.start_worker()
        yield running
        assert running.workers[0].running
        running.check()


@pytest.fixture
def fleet(running: Fleet) -> Fleet:
    """Return the fleet, with nothing on its way and no dead letters."""
    running.wait_until_settled()
    return running


@pytest.fixture
def stock(running: Fleet) -> Iterator[Celery]:
    """Yield a stock Celery app that knows nothing of us but a broker, a queue and a task's name."""
    with Celery("stock", broker=running.valkey.url, set_as_current=False) as app:
        yield app


def wire(**changes: object) -> dict[str, object]:
    """Return an event as it travels, with some fields changed."""
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    return {"account": "tencent", "message_id": "bad", "occurred_at": now_ms} | changes


def event_message(**changes: object) -> bytes:
    """Return the message of an event with some fields changed."""
    return message({"event": wire(**changes)})


BAD: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"\x00\xff not JSON", "not JSON"),
    "empty": (b"", "not JSON"),
    "newlines": (b"0 0 0\n\n\n{}\n", "not JSON"),
    "looks like a record": (b'9 9 9\n{"attempts":[]}\n{}', "not JSON"),
    "JSON, no message": (b"[1, 2, 3]", "not a JSON object"),
    "too long": (message() + b" " * MAX_BYTES, f"more than {MAX_BYTES}"),
    "unknown task": (message(headers={"task": "shop.send_mail"}), "unknown task 'shop.send_mail'"),
    "positional arguments": (message(args=[1]), "one argument, `event`"),
    "a naive time": (event_message(occurred_at="2026-05-01T12:00:00"), "occurred_at: has no time zone"),
    "compressed": (
        message(envelope={"body": base64.b64encode(zlib.compress(b"[]")).decode()}),
        "body is not JSON",
    ),
    "UTF-16": (message(body="[[], {}, {}]".encode("utf-16")), "body is not JSON"),
    "no headers": (message(envelope={"headers": None}), "headers is not a JSON object"),
    "YAML": (message(envelope={"content-type": "application/x-yaml"}), "content-type"),
    "a time in the year 10000": (event_message(occurred_at="+010000-01-01T00:00:00Z"), "occurred_at"),
    "a time as text of digits": (event_message(occurred_at="1777636800000"), "text of digits"),
    "10 MB": (event_message(x="y" * 10_000_000), f"more than {MAX_BYTES}"),
    "protocol 1 of another task": (
        message(body=b'{"id": "i", "task": "shop.send_mail"}', envelope={"headers": {}}),
        "unknown task",
    ),
    "other arguments": (message({"event": wire(), "more": 1}), "one argument"),
    "event is a list": (message({"event": []}), "`event` is not a JSON object"),
    "another account's": (event_message(account="alibaba"), "came through the queue of 'tencent'"),
    "no message id": (event_message(message_id=""), "message_id"),
    "seconds for milliseconds": (event_message(occurred_at=1_795_000_000), "give UNIX milliseconds"),
    "not base64": (message(envelope={"body": "!"}), "base64"),
    "pickled": (message(envelope={"content-type": "application/x-python-serialize"}), "content-type"),
    "deeply nested": (message({"event": wire(), "deep": "x"}, body=b"[" * 20_000), "not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid(fleet: Fleet, name: str) -> None:
    """It is a dead letter `invalid` that says why and keeps the bytes, those that are read; one behind it is sent."""
    raw, why = BAD[name]
    before, known = fleet.delivered(), len(fleet.dead_letters())
    fleet.push_raw(raw)
    fleet.enqueue(1)
    fleet.wait_until_settled()
    letters = fleet.dead_letters()
    assert len(letters) == known + 1
    story = next(story for story, kept in letters if kept == raw[:MAX_BYTES])
    assert story["reason"] == "invalid"
    assert why in story["why"]
    assert fleet.delivered() == before + 1


def test_expired(fleet: Fleet, stock: Celery) -> None:
    """A message whose `expires` has passed is a dead letter `expired`, and the provider hears nothing of it."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    send(stock, fleet, "late", expires=past)
    fleet.wait_until_settled()
    story, raw = next(letter for letter in fleet.dead_letters() if letter[0]["reason"] == "expired")
    assert story["event"]["message_id"] == "late"
    assert json.loads(raw)["headers"]["task"] == "otpreport.report"
    assert "late" not in {row["message_id"] for row in fleet.simulator.ledger()}


def test_other_producers(fleet: Fleet, stock: Celery) -> None:
    """Datetimes, naive options and a chain do not keep a report from being made; the worker counts what it ignored."""
    naive = datetime(2001, 1, 1)  # noqa: DTZ001 - that is the fault
    event = wire(message_id="other", occurred_at=datetime.now(UTC))
    fleet.sent.append(Verification.from_wire(event))
    report = stock.signature("otpreport.report", args=[event], immutable=True)
    following = stock.signature("shop.reported", immutable=True, queue="shop")
    chain(report.set(queue="otpreport.tencent", expires=naive), following).apply_async()
    until(lambda: "other" in {row["message_id"] for row in fleet.simulator.ledger() if row["taken"]})
    fleet.wait_until_settled()
    worker = fleet.workers[0]
    for option in ("chain", "expires"):
        name = "otpreport_message_options_ignored_total"
        assert worker.metric(name, account="tencent", option=option) == 1
        assert [line["option"] for line in worker.lines("message option ignored")].count(option) == 1
    assert not fleet.redis.exists("shop")


def test_eta(fleet: Fleet, stock: Celery) -> None:
    """A message with a countdown waits in the delayed set until it is due, and no shorter."""
    due = datetime.now(UTC) + timedelta(seconds=2)
    send(stock, fleet, "later", eta=due)
    until(lambda: fleet.books()["tencent"].scheduled == 1)
    fleet.wait_until_settled()
    row = next(row for row in fleet.simulator.ledger() if row["message_id"] == "later")
    assert row["taken"]
    assert row["unix"] >= due.timestamp()


@pytest.mark.parametrize("priority", [0, 3, 5, 9])
def test_priority_lists(fleet: Fleet, stock: Celery, priority: int) -> None:
    """A message of any priority, sent by a stock app, is delivered."""
    name = f"priority-{priority}"
    send(stock, fleet, name, priority=priority)
    fleet.wait_until_settled()
    assert name in {row["message_id"] for row in fleet.simulator.ledger() if row["taken"]}


def test_from_a_stock_app(fleet: Fleet, stock: Celery) -> None:
    """A stock app's plain send_task is delivered through every account's queue."""
    for account in fleet.accounts:
        send(stock, fleet, f"stock-{account}", account=account)
    fleet.wait_until_settled()
    taken = {row["message_id"] for row in fleet.simulator.ledger() if row["taken"]}
    assert {f"stock-{account}" for account in fleet.accounts} <= taken


def test_a_stream_of_nonsense(fleet: Fleet) -> None:
    """Hundreds of bad messages among good ones all become dead letters, and every good one is delivered."""
    before, known = fleet.delivered(), len(fleet.dead_letters())
    short = [raw for raw, _ in BAD.values() if len(raw) < 2 * MAX_BYTES]
    for number in range(20):
        for raw in short:
            fleet.push_raw(raw)
        fleet.enqueue(10)
        fleet.push_raw(b"%d" % number)
    fleet.wait_until_settled()
    assert fleet.delivered() == before + 200
    assert len(fleet.dead_letters()) == known + 20 * (len(short) + 1)


def test_unserved_account(fleet: Fleet) -> None:
    """A message for an account that nobody configured is left where it is."""
    fleet.push_raw(encode(fleet.events(1)[0], task_id="x"), account="tencnet")
    fleet.enqueue(10)
    fleet.wait_until_settled()
    assert fleet.redis.llen("otpreport.tencnet") == 1


def send(stock: Celery, fleet: Fleet, name: str, *, account: str = "tencent", **options: Any) -> None:
    """Send an event as a stock app does."""
    event = fleet.events(1, account)[0].model_copy(update={"message_id": name})
    fleet.sent.append(event)
    queue = f"otpreport.{account}"
    stock.send_task("otpreport.report", kwargs={"event": event.to_wire()}, queue=queue, **options)
