"""`find` at its limits: events that move, a million that wait, killed workers, a Redis in trouble."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
import redis

from otpreport.address import connection_pool
from otpreport.wire import encode, queue_name
from tests.e2e.test_find import PLAN
from tests.support.chaos import SETTINGS, Trial
from tests.support.command import call_in, environment
from tests.support.fleet import LONG, Account, Fleet
from tests.support.looking import find_moving, looking_with
from tests.support.wait import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

MANY, PART = 1_000_000, 10_000
PROMISE = 20.0
"""Seconds that a look through so many events may take."""

STEADY = Account("tencent", "tencent", 300)
KILLS, TROUBLES = 5, 5

RATE = 1000
SECONDS = 10.0


def test_a_thousand_looks_for_moving_events(tmp_path: Path) -> None:
    """None says unknown, while two workers lease, fail, retry, and deliver them."""
    with Fleet(tmp_path, STEADY, plan=PLAN) as fleet:
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


def test_looks_while_workers_are_killed(tmp_path: Path) -> None:
    """No look says unknown, whatever the dead workers held."""
    with Fleet(tmp_path, STEADY, plan=PLAN, settings=SETTINGS) as fleet:
        trial = Trial(fleet, "`find` while workers are killed (`kill -9`)")
        workers = fleet.start_workers(2)
        found = Counter[str]()
        with fleet.producing(250):
            until(lambda: fleet.delivered() > 20)
            for _ in range(KILLS):
                found += find_moving(fleet, 50, newest=100)
                workers.append(fleet.start_worker())
                trial.kill(workers.pop(0))
                found += find_moving(fleet, 50, newest=100)
        trial.end()
        assert found.total() == KILLS * 100
        assert not {"unknown", "doubtful", "away"} & set(found)


@pytest.mark.parametrize("way", ["`kill -9`, started again", "frozen (SIGSTOP)"])
def test_looks_while_redis_is_in_trouble(tmp_path: Path, way: str) -> None:
    """A look that met it fails or says that it may have missed something; none says unknown."""
    with Fleet(tmp_path, STEADY, plan=PLAN, settings=SETTINGS, options={"appendfsync": "always"}) as fleet:
        trial = Trial(fleet, f"`find` while Redis is in trouble: {way}")
        fleet.start_worker()
        fleet.enqueue(2000)
        looking = looking_with(redis.Redis(connection_pool=connection_pool(fleet.valkey.url, timeout=0.2)))
        chance, found = random.Random(1), Counter[str]()
        for _ in range(TROUBLES):
            done = Event()
            thread = Thread(target=_trouble, args=(fleet, way, done))
            thread.start()
            while not done.is_set():
                found[looking(chance.choice(fleet.sent))] += 1
            thread.join()
            trial.times += 1
        print(found)
        trial.end()
        assert found["unknown"] == 0
        assert found["away"]
        assert found.total() - found["away"] - found["doubtful"]


def _trouble(fleet: Fleet, way: str, done: Event) -> None:
    time.sleep(0.5)
    if way.startswith("frozen"):
        fleet.valkey.freeze()
        time.sleep(0.5)
        fleet.valkey.thaw()
    else:
        fleet.valkey.kill()
        fleet.valkey.start()
    time.sleep(0.5)
    done.set()


def _rate(fleet: Fleet, meanwhile: Callable[[], None]) -> float:
    count, began = fleet.delivered(), time.monotonic()
    meanwhile()
    return (fleet.delivered() - count) / (time.monotonic() - began)
