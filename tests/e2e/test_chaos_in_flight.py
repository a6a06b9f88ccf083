"""`MAX_IN_FLIGHT` at length: workers killed and frozen, Redis restarted, never more requests open than the limit."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.test_in_flight import LIMIT, LIMITED, in_flight
from tests.support.chaos import SETTINGS, Trial
from tests.support.fleet import Fleet
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

TIMES = 8
EVENTS = 1200
UNEVEN = {"latency": {"base_ms": 20, "jitter_ms": 80, "tail_share": 0.1, "tail_median_ms": 700}}
HOLD = 0.5 + 3.0 + 1.0
"""Seconds for which the permits of a worker that is gone are kept, with the settings of the suite."""


def pass_time(seconds: float) -> None:
    """Let the workers work on."""
    threading.Event().wait(seconds)


def kill(fleet: Fleet, trial: Trial, workers: list[WorkerProcess]) -> None:
    """Replace a busy worker that is killed."""
    workers.append(fleet.launch())
    trial.kill(workers.pop(0))
    workers[-1].wait_until_started()


def freeze(fleet: Fleet, trial: Trial, workers: list[WorkerProcess]) -> None:
    """Stop a busy worker until others have its permits, and let it go on."""
    del fleet
    workers[0].freeze()
    trial.died(workers[0])
    pass_time(HOLD + 1)
    workers[0].thaw()
    workers.append(workers.pop(0))


def restart(fleet: Fleet, trial: Trial, workers: list[WorkerProcess]) -> None:
    """Kill Redis, which comes back with what it had written."""
    for worker in workers:
        trial.died(worker)
    trial.times -= len(workers) - 1
    fleet.valkey.kill()
    fleet.valkey.start()
    pass_time(HOLD)


FAULTS: dict[str, Callable[[Fleet, Trial, list[WorkerProcess]], None]] = {
    "`kill -9` of a busy worker": kill,
    "a busy worker frozen until its permits are given on": freeze,
    "Redis killed and started again": restart,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_never_more_at_the_door(tmp_path: Path, fault: str) -> None:
    """Three workers at saturation: whatever is done to them, the provider never sees one request too many."""
    options = {"appendfsync": "always"}
    with Fleet(tmp_path, LIMITED, plan=UNEVEN, settings=SETTINGS, options=options) as fleet:
        trial = Trial(fleet, f"`MAX_IN_FLIGHT` ({LIMIT}): {fault}")
        workers = fleet.start_workers(3)
        for _ in range(TIMES):
            fleet.enqueue(EVENTS // TIMES)
            fleet.wait_until_delivered(fleet.delivered() + 30)
            FAULTS[fault](fleet, trial, workers)
        trial.end()
        assert in_flight(fleet)["max"] == LIMIT


def test_off_there_are_more(tmp_path: Path) -> None:
    """The control: without the setting the same kills show more than the limit at the door."""
    account = replace(LIMITED, settings={})
    with Fleet(tmp_path, account, plan=UNEVEN, settings=SETTINGS) as fleet:
        trial = Trial(fleet, "a control")
        workers = fleet.start_workers(3)
        fleet.enqueue(EVENTS)
        kill(fleet, trial, workers)
        fleet.wait_until_settled()
        assert in_flight(fleet)["max"] > LIMIT
