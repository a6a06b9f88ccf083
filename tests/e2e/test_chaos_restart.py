"""Four workers replaced one after the other under load, told to end in every way there is."""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.chaos import SETTINGS, Trial, longest_silence
from tests.support.fleet import Account, Fleet
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

STEADY = Account("tencent", "tencent", 300)
BUSY = {"latency": {"base_ms": 100, "jitter_ms": 100}}
SLUGGISH = {"latency": {"base_ms": 2000}}
"""Answers that a worker told to end at once does not wait for."""

WORKERS = 4
ROUNDS = 1

WAYS: dict[str, Sequence[signal.Signals]] = {
    "SIGTERM": [signal.SIGTERM],
    "SIGTERM twice": [signal.SIGTERM, signal.SIGTERM],
    "SIGQUIT": [signal.SIGQUIT],
}


def end(worker: WorkerProcess, signals: Sequence[signal.Signals]) -> None:
    """Send a worker these signals and wait for its end; a second one comes once it has begun to stop."""
    for number in signals:
        if worker.running:
            worker.send(number)
    assert worker.wait() == 0


@pytest.mark.parametrize("way", WAYS)
def test_rolling_restart(tmp_path: Path, way: str) -> None:
    """Workers replaced under load lose nothing; sent twice is at most what a worker's log says is in doubt."""
    plan = SLUGGISH if way == "SIGQUIT" else BUSY
    with Fleet(tmp_path, STEADY, plan=plan, settings=SETTINGS) as fleet:
        trial = Trial(fleet, f"rolling restart of four workers, {way}")
        workers = fleet.start_workers(WORKERS)
        with fleet.producing(250):
            for _ in range(ROUNDS * WORKERS):
                before = fleet.delivered()
                workers.append(fleet.start_worker())
                fleet.wait_until_delivered(before + 1)
                old = workers.pop(0)
                end(old, WAYS[way])
                trial.times += 1
        fleet.wait_until_settled()
        trial.seconds.append(longest_silence(fleet))
        audit = trial.end()
        assert trial.in_doubt if way == "SIGQUIT" else not audit.twice
