"""Messages of megabytes among good ones, and what the version before made of them."""

from pathlib import Path

import pytest

from tests.support.admin import admin
from tests.support.chaos import SETTINGS, Trial
from tests.support.earlier import BEFORE, checkout
from tests.support.fleet import TENCENT, Fleet
from tests.support.leased import message
from tests.support.wait import until
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

MB = 1_000_000
PLAN = {"latency": {"base_ms": 30}}

STATE = "otpreport:account:tencent"

MANY, LONG = 95, 3 * MB // 2
LONGEST = 120 * MB
GOOD = 100
"""Good events before, among and behind the long ones."""

BESIDE = 64 * MB
"""Memory that Redis may use beside what is queued: many long messages cost no more than one of them."""

COPIES = 4
"""Copies of one message that Redis may hold while it takes it out of the list."""

WORKER = 130
"""MB that a worker may have used at its highest."""


def fill(fleet: Fleet, count: int, length: int) -> int:
    """Let good events and long messages wait, return what Redis uses then, and let them go; its peak begins there."""
    server, raw = admin(fleet.redis), message() + b" " * length
    server.hset(STATE, "state", "paused")
    fleet.enqueue(GOOD)
    for _ in range(count):
        fleet.push_raw(raw)
    fleet.enqueue(GOOD)
    server.config_resetstat()
    queued = int(server.info("memory")["used_memory"])
    server.hdel(STATE, "state")
    return queued


def peak(fleet: Fleet) -> int:
    """Return the most memory that Redis has used since the queue was filled."""
    return int(admin(fleet.redis).info("memory")["used_memory_peak"])


def highest(worker: WorkerProcess) -> int:
    """Return the most MB that a worker has ever held."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1000


@pytest.mark.parametrize(("count", "length"), [(MANY, LONG), (1, LONGEST)], ids=["many", "one"])
def test_long_messages(tmp_path: Path, count: int, length: int) -> None:
    """Each is a dead letter, the good ones are delivered, Redis and the workers need little memory, no worker dies."""
    with Fleet(tmp_path, TENCENT, plan=PLAN, settings=SETTINGS) as fleet:
        trial = Trial(fleet, f"messages of {length / MB:g} MB among good ones")
        workers = fleet.start_workers(2)
        fleet.enqueue(GOOD)
        fleet.wait_until_settled()
        trial.watch(workers)
        queued = fill(fleet, count, length)
        with fleet.producing(50):
            until(lambda: fleet.books()["tencent"].dead == count, deadline=60)
        trial.times = count
        trial.end(dead=count, strangers=count)
        assert {story["reason"] for story, _ in fleet.dead_letters()} == {"invalid"}
        assert peak(fleet) - queued < BESIDE + COPIES * length
        assert all(worker.running and highest(worker) < WORKER for worker in workers)


def test_the_version_before_takes_them_all(tmp_path: Path) -> None:
    """The control: it copies all that a call takes several times, in Redis and in the worker."""
    with Fleet(tmp_path, TENCENT, plan=PLAN, settings=SETTINGS) as fleet:
        worker = fleet.launch(root=checkout(tmp_path / BEFORE)).wait_until_started()
        queued = fill(fleet, MANY, LONG)
        until(lambda: peak(fleet) - queued > BESIDE + COPIES * LONG, deadline=60)
        until(lambda: not worker.running or highest(worker) > WORKER, deadline=60)
