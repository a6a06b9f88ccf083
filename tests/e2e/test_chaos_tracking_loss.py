"""OTPs on a Redis that comes back with less than it had: failovers by Sentinel, an append-only file without its end."""

import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.test_redis_forms import judge_by
from tests.support.admin import admin
from tests.support.chaos import SETTINGS, Row, record
from tests.support.fleet import Fleet
from tests.support.redis_servers import SERVICE, Sentinelled, cut_off, follow
from tests.support.tracked import ACCOUNT, NAME, App, app_of, otps_of, pass_time, reports
from tests.support.tracking_worker import rules
from tests.support.wait import until
from worker.embedded import EmbeddedValkey

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

RATE, TIMES = 50, 3
STEP = 0.5
"""Seconds before a crash that a replica in step is allowed to lack."""


@dataclass(slots=True)
class Lost:
    """What may be lost: OTPs of which something was told, or reported, while it was acknowledged and not kept."""

    fleet: Fleet
    app: App
    told: set[str] = field(default_factory=set[str])
    reported: set[str] = field(default_factory=set[str])

    def between(self, began: float, ended: float) -> None:
        """Add those of a span (UNIX times) whose writes may be gone; what was on its way then counts, too."""
        self.told |= {message_id for at, message_id in self.app.told if began <= at <= ended}
        ledger = self.fleet.simulator.ledger()
        self.reported |= {row["message_id"] for row in ledger if began <= row["unix"] <= ended + 1}

    def judge(self, fault: str) -> int:
        """Wait until all has ended; record the row, return what was lost; AssertionError for a gap or another loss."""
        fleet, app = self.fleet, self.app
        silent, in_doubt = set(app.sent) - app.verified, self.told | self.reported
        until(lambda: self._is_over(silent), deadline=120, pause=0.05)
        otps, taken = otps_of(fleet), reports(fleet)
        assert otps is not None
        again = {message_id for counts in taken.values() for message_id, n in counts.items() if n > 1}
        wrong = (app.verified - taken[True].keys()) | (taken[False].keys() & app.verified)
        uncounted, unsaid = len(app.sent) - otps.total.sent, silent - taken[False].keys()
        lost = max(uncounted, len(wrong | unsaid))
        record(Row(f"OTPs: {fault}", TIMES, len(app.sent), lost, len(again), len(in_doubt)))
        assert (otps.sent_gap, otps.unverified_gap) == (0, 0)
        assert not fleet.books()[NAME].faults()
        assert 0 <= uncounted <= len(self.told)
        assert wrong <= self.told
        assert taken[True].keys() <= app.verified
        assert unsaid <= self.told
        assert again <= in_doubt
        assert fleet.simulator.summary()["false_after_true"] <= len(wrong)
        assert all(worker.metric("otpreport_internal_errors_total") == 0 for worker in fleet.workers)
        return lost

    def _is_over(self, silent: set[str]) -> bool:
        otps, taken = otps_of(self.fleet), reports(self.fleet)
        if otps is None or otps.open or otps.waiting or not self.fleet.books()[NAME].settled:
            return False
        return (
            self.app.verified - self.told <= taken[True].keys() and silent - self.told <= taken[False].keys()
        )


def start_workers(fleet: Fleet) -> None:
    """Start two workers."""
    for worker in [fleet.launch(rules("patient")) for _ in range(2)]:
        worker.wait_until_started()


@contextmanager
def sentinelled(folder: Path) -> Generator[tuple[Fleet, Sentinelled, App]]:
    """Yield workers and an app on a master with a replica and a sentinel."""
    with (
        Fleet(folder, ACCOUNT, settings=SETTINGS) as fleet,
        Sentinelled(folder, fleet.valkey) as servers,
        app_of(fleet, folder, servers.url) as app,
    ):
        fleet.configure(redis_url=servers.url)
        start_workers(fleet)
        yield fleet, servers, app


def join(servers: Sentinelled, old: EmbeddedValkey, master: EmbeddedValkey) -> None:
    """Let the old master be a replica, in step with the new one, and wait until the sentinel would promote it."""
    if not old.is_running():
        old.start()
    admin(master.port).config_set("masterauth", "")
    follow(old.port, master.port)

    def is_fit() -> bool:
        with admin(servers.sentinel) as client:
            replicas = client.sentinel_slaves(SERVICE)
        return [
            (one["port"], one["is_sdown"], one["master-link-status"])
            for one in replicas
            if one["port"] == old.port
        ] == [(old.port, False, "ok")]

    until(is_fit, deadline=60, pause=0.1)


@pytest.mark.parametrize("behind", [0.0, 2.0])
def test_master_dies(tmp_path: Path, behind: float) -> None:
    """Every count is what the new master has of it, whole: only what the replica lacked can be lost or said again."""
    with sentinelled(tmp_path) as (fleet, servers, app):
        lost, master, replica = Lost(fleet, app), servers.master, servers.replica
        for _ in range(TIMES):
            with app.busy(RATE):
                pass_time(12.0)
                began = time.time()
                if behind:
                    cut_off(replica.port, master.port)
                    pass_time(behind)
                master.kill()
                ended = time.time()
                servers.wait_until_master(replica.port)
                judge_by(fleet, replica)
                pass_time(3.0)
            lost.between(began - STEP, ended)
            join(servers, master, replica)
            master, replica = replica, master
        what = f"was cut off {behind:.0f} s before" if behind else "is in step"
        lost.judge(f"Sentinel failover, master killed (`kill -9`), the replica {what}")


def test_sentinel_switches_roles(tmp_path: Path) -> None:
    """What the old master takes until the apps have left it can be lost, a second or two, and no more."""
    with sentinelled(tmp_path) as (fleet, servers, app):
        lost, master, replica = Lost(fleet, app), servers.master, servers.replica
        for _ in range(TIMES):
            with app.busy(RATE):
                pass_time(12.0)
                began = time.time()
                servers.fail_over(replica)
                judge_by(fleet, replica)
                with admin(master.port) as old:
                    until(lambda: old.info("replication")["role"] == "slave", deadline=60)
                ended = time.time()
                pass_time(3.0)
            lost.between(began, ended)
            join(servers, master, replica)
            master, replica = replica, master
        count = lost.judge("Sentinel switches the roles under load (`SENTINEL FAILOVER`)")
        assert count < TIMES * RATE * 5, "apps stayed at the old master, which lives on for ten seconds"


def append_only_file(fleet: Fleet) -> Path:
    """Return the file that the server appends to."""
    return max(
        (fleet.valkey.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime
    )


def test_append_only_file_is_torn(tmp_path: Path) -> None:
    """A crash of the host leaves a part of the last command, or of the last script: it is kept whole or not at all."""
    chance = random.Random(20261128)
    always = {"appendfsync": "always"}
    with Fleet(tmp_path, ACCOUNT, settings=SETTINGS, options=always) as fleet, app_of(fleet, tmp_path) as app:
        start_workers(fleet)
        lost = Lost(fleet, app)
        for _ in range(TIMES):
            with app.busy(RATE):
                pass_time(12.0)
                admin(fleet.redis).bgrewriteaof()
                until(lambda: not admin(fleet.redis).info("persistence")["aof_rewrite_in_progress"])
                pass_time(1.0)
                began, kept = time.time(), append_only_file(fleet).stat().st_size
                pass_time(1.0)
                fleet.valkey.kill()
                ended, file = time.time(), append_only_file(fleet)
                with file.open("r+b") as torn:
                    torn.truncate(chance.randrange(kept, file.stat().st_size))
                pass_time(5.0)
                fleet.valkey.start()
                pass_time(2.0)
            lost.between(began - STEP, ended)
        lost.judge("Redis: `kill -9`, its append-only file torn within the last second")
