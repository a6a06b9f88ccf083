"""One of two workers gets nothing out, at length; and what the version before made of it."""

import time
from functools import partial
from pathlib import Path

import pytest

from tasks.accounts.reach import TRIES
from tests.e2e.test_way_out import nowhere
from tests.support.admin import admin
from tests.support.chaos import SETTINGS, Trial, longest_silence
from tests.support.earlier import BEFORE, checkout
from tests.support.fleet import TENCENT, Fleet
from tests.support.wait import until
from tests.support.worker_process import ROOT, WorkerProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

RATE, STARTS = 50, 4
PLAN = {"latency": {"base_ms": 30}}


def state(fleet: Fleet) -> bytes:
    """Return the account's state."""
    return admin(fleet.redis).hget("otpreport:account:tencent", "state") or b"running"


def start_without_a_way_out(fleet: Fleet, root: Path = ROOT) -> WorkerProcess:
    """Start the odd worker and let it take its share."""
    worker = fleet.launch(root=root, environment=nowhere()).wait_until_started()
    until(lambda: len(worker.lines("attempt")) >= TRIES, deadline=60)
    return worker


def test_without_a_way_out(tmp_path: Path) -> None:
    """Started again and again, it stops nobody: no event waits for long, none uses an attempt."""
    with Fleet(tmp_path, TENCENT, plan=PLAN, settings=SETTINGS) as fleet:
        trial = Trial(fleet, "one of two workers without a way out, restarted")
        good = fleet.start_worker()
        trial.watch([good])
        fleet.enqueue(RATE)
        fleet.wait_until_settled()
        began = time.time()
        with fleet.producing(RATE):
            for _ in range(STARTS):
                bad = start_without_a_way_out(fleet)
                until(partial(bad.lines, "account left to others"))
                bad.terminate()
                bad.wait()
                trial.times += 1
                assert state(fleet) == b"running"
        trial.seconds.append(longest_silence(fleet, since=began))
        trial.end()
        assert trial.seconds[0] < 5.0


def test_the_version_before_stops(tmp_path: Path) -> None:
    """The control: its breaker opens for both workers, for what never left one of them."""
    old = checkout(tmp_path / BEFORE)
    with Fleet(tmp_path, TENCENT, plan=PLAN, settings=SETTINGS) as fleet:
        fleet.launch(root=old).wait_until_started()
        with fleet.producing(RATE):
            start_without_a_way_out(fleet, old)
            until(lambda: state(fleet) == b"open", deadline=60)
