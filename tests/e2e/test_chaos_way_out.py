"""One of two workers gets nothing out, at length; and what the version before made of it."""

import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tasks.accounts.reach import TRIES
from tests.e2e.test_way_out import nowhere
from tests.support.admin import admin
from tests.support.chaos import SETTINGS, Trial, longest_silence
from tests.support.earlier import BEFORE, checkout
from tests.support.fleet import TENCENT, Fleet
from tests.support.tinyproxy import Tinyproxy
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


def deliver_some(fleet: Fleet) -> None:
    """Wait for a second's deliveries."""
    enough = fleet.delivered() + 4 * RATE
    until(lambda: fleet.delivered() >= enough, deadline=60)


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


def test_a_proxy_that_is_killed(tmp_path: Path) -> None:
    """What was in its tunnels is in doubt, all else was not sent and uses no attempt; nothing is lost."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    with (
        Tinyproxy(folder) as proxy,
        Fleet(
            tmp_path, replace(TENCENT, settings={"proxy": proxy.url}), plan=PLAN, settings=SETTINGS
        ) as fleet,
    ):
        trial = Trial(fleet, "the proxy of both workers killed")
        workers = [fleet.start_worker() for _ in range(2)]
        trial.watch(workers)
        with fleet.producing(4 * RATE):
            for _ in range(STARTS):
                deliver_some(fleet)
                proxy.kill()
                until(lambda: state(fleet) == b"open", deadline=60)
                proxy.restart()
                trial.times += 1
        trial.end()
        attempts = [line for worker in workers for line in worker.lines("attempt")]
        doubts = Counter(line["message_id"] for line in attempts if line["result"] == "unknown")
        assert doubts
        assert not [line for line in attempts if line["attempt"] > 1 + doubts[line["message_id"]]]


def test_the_version_before_stops(tmp_path: Path) -> None:
    """The control: its breaker opens for both workers, for what never left one of them."""
    old = checkout(tmp_path / BEFORE)
    with Fleet(tmp_path, TENCENT, plan=PLAN, settings=SETTINGS) as fleet:
        fleet.launch(root=old).wait_until_started()
        with fleet.producing(RATE):
            start_without_a_way_out(fleet, old)
            until(lambda: state(fleet) == b"open", deadline=60)
