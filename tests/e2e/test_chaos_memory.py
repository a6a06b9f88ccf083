"""Redis comes back empty, or older than it was, after a key was rotated and an account was paused by hand."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.test_keys import NEXT, NEXT_KEY, NEXT_SECRET, KeyFiles, reloads
from tests.support.admin import admin
from tests.support.chaos import Row, record
from tests.support.command import call_in
from tests.support.earlier import command
from tests.support.fleet import ALIBABA, LONG, TENCENT, Fleet
from tests.support.wait import until
from tests.support.worker_process import EXPORTER, ROOT, RUN, WorkerProcess, odd

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

RATE = 60
FAULT = "Redis comes back {}, a key rotated and an account paused before"
LOST = "redis lost data"


@dataclass
class Loss:
    """What was there before Redis lost it, and who saw it."""

    fleet: Fleet
    files: KeyFiles
    workers: list[WorkerProcess]
    exporter: WorkerProcess

    @classmethod
    def after(cls, fleet: Fleet, run: tuple[str, ...], *, older: bool) -> "Loss":
        """Rotate the key, save what Redis holds if it is to come back older, pause an account, let Redis crash."""
        files = KeyFiles(fleet.folder)
        workers = [fleet.launch(run, environment=files.variables).wait_until_started() for _ in range(2)]
        exporter = fleet.launch(EXPORTER, environment={"OTPREPORT_METRICS_PORT": "0"}).wait_until_started()
        fleet.enqueue(50)
        fleet.wait_until_settled()
        files.write(NEXT, NEXT_SECRET)
        until(lambda: [reloads(worker) for worker in workers] == [1, 1])
        if older:
            admin(fleet.redis).save()
        command(ROOT, fleet.config, "accounts", "pause", "alibaba", "--reason", "trial")
        until(lambda: all(worker.lines("account paused") for worker in workers))
        fleet.enqueue(50)
        until(lambda: fleet.books()["tencent"].settled)
        waiting = fleet.enqueue(50, "alibaba")
        fleet.valkey.kill()
        fleet.valkey.start()
        fleet.push(waiting)
        return cls(fleet, files, workers, exporter)

    def send_with_a_newcomer(self, count: str = "worst_on_time") -> int:
        """Send all there is, beside a worker that knows the new key alone; return the new key's fullest second.

        `count` names the simulator's figure: only seconds in which it kept up itself, or all of them, `worst`.
        """
        fleet = self.fleet
        fleet.enqueue(12 * RATE)
        newcomer = fleet.start_worker(environment=self.files.variables)
        until(lambda: newcomer.metric("otpreport_attempts_total") >= RATE)
        fleet.wait_until_settled()
        key = fleet.simulator.key("tencent", NEXT)
        return int(max(key["aligned"][count], key["sliding"][count]))


def taken_with_either_key(fleet: Fleet) -> Counter[str]:
    """Return how often the provider took each report."""
    return Counter(row["message_id"] for row in fleet.simulator.ledger() if row["taken"])


def lossy(folder: Path) -> Fleet:
    """Return a fleet whose Redis holds nothing on disk but what it is asked to save."""
    account, next_key = replace(TENCENT, rate=RATE), NEXT_KEY | {"rate": RATE}
    return Fleet(
        folder,
        account,
        ALIBABA,
        keys=[next_key],
        settings=LONG,
        options={"appendonly": "no"},
    )


@pytest.mark.parametrize("how", ["empty", "as it was some seconds ago"])
def test_redis_forgets(tmp_path: Path, how: str) -> None:
    """Everybody is told, one limiter holds the rate, and what its producer sends again arrives."""
    with lossy(tmp_path) as fleet:
        loss = Loss.after(fleet, RUN, older=how != "empty")
        assert loss.send_with_a_newcomer() <= RATE
        assert len(admin(fleet.redis).keys("otpreport:rate:*")) == len(fleet.accounts)
        for worker in loss.workers:
            (told,) = worker.lines(LOST)
            assert (told["level"], told["left"]) == (
                "error",
                "nothing" if how == "empty" else "an older state",
            )
            assert told["operator_states_before"] == "alibaba paused"
        assert loss.exporter.metric("otpreport_redis_lost_timestamp_seconds") > 0
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
        for look in ("check", "status"):
            assert "Redis came back" in call_in(clean | {"OTPREPORT_CONFIG": str(fleet.config)}, look).out
        sent, taken = {event.message_id for event in fleet.sent}, taken_with_either_key(fleet)
        twice, lost = taken.total() - len(taken), sent - taken.keys()
        assert not [fault for books in fleet.books().values() for fault in books.faults()]
        assert (lost, twice, taken.keys() - sent) == (set(), 0, set())
        record(Row(FAULT.format(how), 1, len(sent), len(lost), twice))


def test_redis_forgets_and_nobody_looks(tmp_path: Path) -> None:
    """The control: workers that never hear of it share no limiter with one that comes later."""
    with lossy(tmp_path) as fleet:
        loss = Loss.after(fleet, odd("never-hears-of-a-loss"), older=False)
        assert loss.send_with_a_newcomer("worst") > RATE
        assert not any(worker.lines(LOST) for worker in loss.workers)
