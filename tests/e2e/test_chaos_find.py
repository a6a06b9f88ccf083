"""`find` at its limits: a thousand looks for events that move, and a million events that wait."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from otpreport.wire import encode, queue_name
from tests.e2e.test_find import PLAN
from tests.support.command import call_in, environment
from tests.support.fleet import LONG, Account, Fleet
from tests.support.looking import find_moving
from tests.support.wait import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

MANY, PART = 1_000_000, 10_000
PROMISE = 20.0
"""Seconds that a look through so many events may take."""

RATE = 1000
SECONDS = 10.0


def test_a_thousand_looks_for_moving_events(tmp_path: Path) -> None:
    """None says unknown, while two workers lease, fail, retry, and deliver them."""
    with Fleet(tmp_path, Account("tencent", "tencent", 300), plan=PLAN) as fleet:
        fleet.start_workers(2)
        with fleet.producing(250):
            until(lambda: fleet.delivered() > 20)
            found = find_moving(fleet, 1000, newest=100)
        assert found["unknown"] == 0
        assert len(found) > 2


def test_a_look_through_a_million_waiting_events(tmp_path: Path) -> None:
    """It takes less than 20 s, and reports go on at their rate."""
    with Fleet(tmp_path, Account("tencent", "tencent", RATE), settings=LONG) as fleet:
        first = fleet.events(1)[0]
        fleet.redis.lpush(queue_name("tencent"), encode(first, task_id="first"))
        for start in range(0, MANY, PART):
            messages = [encode(one, task_id=str(start)) for one in fleet.events(PART)]
            fleet.redis.lpush(queue_name("tencent"), *messages)
        fleet.start_worker()
        until(lambda: fleet.delivered() > RATE, deadline=60)
        before = _rate(fleet, lambda: time.sleep(SECONDS))
        seconds = list[float]()

        def look() -> None:
            began = time.monotonic()
            url = f"redis://127.0.0.1:{fleet.valkey.port}/0"
            ran = call_in(environment(url), "find", "nobody:1", "--account", "tencent", "--json")
            seconds.append(time.monotonic() - began)
            assert ran.status == 1
            assert ran.json["looked"]["waiting"] > MANY / 2

        beside = _rate(fleet, look)
        after = _rate(fleet, lambda: time.sleep(SECONDS))
        print(
            f"{before:.1f}/s before, {beside:.1f}/s beside a look of {seconds[0]:.1f} s, {after:.1f}/s after"
        )
        assert beside > 0.95 * min(before, after)
        assert seconds[0] < PROMISE


def _rate(fleet: Fleet, meanwhile: Callable[[], None]) -> float:
    count, began = fleet.delivered(), time.monotonic()
    meanwhile()
    return (fleet.delivered() - count) / (time.monotonic() - began)
