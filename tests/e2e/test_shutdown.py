"""SIGTERM and its relatives: what is held is finished or handed back, nothing is lost or sent twice."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.support.fleet import ALIBABA, LONG, SHORT, TENCENT, Account, Fleet
from tests.support.wait import until
from tests.support.worker_process import CELERY, RUN, WorkerProcess

SLOW = Account("tencent", "tencent", 300)
BUSY = {"latency": {"base_ms": 200, "jitter_ms": 100}}
"""The provider answers well within the grace."""

HANG = {"faults": [{"kind": "hang", "message_id": "hang-*", "arrivals": 1}]}
GRACE = float(str(SHORT["grace"]))


def in_doubt(worker: WorkerProcess) -> Counter[str]:
    """Return the ids of events whose answer a worker did not wait for, as its log has them."""
    return Counter(line["message_id"] for line in worker.lines("attempt") if line["code"] == "shutdown")


def test_under_load(tmp_path: Path) -> None:
    """A worker stopped amid its work finishes or hands back all it holds at once; the next one does the rest, once."""
    with Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet:
        worker = fleet.start_worker(CELERY)
        fleet.enqueue(600)
        fleet.wait_until_delivered(100)
        worker.terminate()
        assert worker.wait(5 * GRACE) == 0
        books = fleet.books()["tencent"]
        assert books.held == 0, "it left something to wait for the end of its lease"
        assert 0 < books.delivered < 600
        assert fleet.arrivals() == books.delivered, "a request in flight was not waited for"
        fleet.start_worker()
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["tencent"].delivered == 600
        assert not audit.twice


def test_grace_is_over(tmp_path: Path) -> None:
    """A request that outlasts the grace is in doubt: counted, logged, handed back, sent again by the next worker."""
    settings = {**LONG, "grace": 1.0}
    with Fleet(tmp_path, TENCENT, plan=HANG, settings=settings) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(100)
        hanging = fleet.enqueue(5, prefix="hang-")
        fleet.wait_until_delivered(100)
        fleet.wait_until_arrived(105)
        worker.terminate()
        assert worker.wait(30) == 0
        assert in_doubt(worker) == Counter(event.message_id for event in hanging)
        assert fleet.books()["tencent"].scheduled == 5
        fleet.start_worker()
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 105


@pytest.mark.chaos
def test_second_sigterm(tmp_path: Path) -> None:
    """A second SIGTERM does not lose or forget anything either."""
    with Fleet(tmp_path, TENCENT, plan=HANG, settings=LONG) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(5, prefix="hang-")
        fleet.wait_until_arrived(5)
        worker.terminate()
        until(lambda: worker.lines("worker stops"))
        fleet.enqueue(200)
        worker.terminate()
        assert worker.wait(5 * GRACE) == 0
        assert fleet.books()["tencent"].held == 0
        fleet.start_worker()
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 205


def test_sigquit(tmp_path: Path) -> None:
    """SIGQUIT hands back at once: requests in flight are in doubt and counted, nothing waits for the lease."""
    with Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(600)
        fleet.wait_until_delivered(100)
        worker.send(signal.SIGQUIT)
        assert worker.wait(30) == 0
        books = fleet.books()["tencent"]
        assert books.held == 0
        doubtful = in_doubt(worker)
        fleet.start_worker()
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["tencent"].delivered == 600
        assert audit.twice.keys() <= doubtful.keys()


@pytest.mark.chaos
def test_sigint(tmp_path: Path) -> None:
    """Ctrl-C is as gentle as SIGTERM."""
    with Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(300)
        fleet.wait_until_delivered(50)
        worker.send(signal.SIGINT)
        assert worker.wait(5 * GRACE) == 0
        assert fleet.books()["tencent"].held == 0
        fleet.start_worker()
        fleet.wait_until_settled()
        assert not fleet.check().twice


@pytest.mark.parametrize("frozen", [pytest.param(False, marks=pytest.mark.chaos), True])
def test_redis_away(tmp_path: Path, frozen: bool) -> None:
    """A worker stopped while Redis is away ends all the same; what it held is found when its lease is over."""
    settings = {**SHORT, "grace": 2.0}
    with Fleet(tmp_path, SLOW, plan=BUSY, settings=settings, options={"appendfsync": "always"}) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(400)
        fleet.wait_until_delivered(100)
        if frozen:
            fleet.valkey.freeze()
        else:
            fleet.valkey.kill()
        worker.terminate()
        assert worker.wait(60) == 0
        assert "Traceback" not in worker.text
        if frozen:
            fleet.valkey.thaw()
        else:
            fleet.valkey.start()
        held = fleet.books()["tencent"].held
        fleet.start_worker()
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["tencent"].delivered == 400
        assert len(audit.twice) <= held


def test_idle_worker_leaves(tmp_path: Path) -> None:
    """A worker that has nothing ends at once and leaves no trace among the living."""
    with Fleet(tmp_path) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(10)
        fleet.wait_until_settled()
        worker.terminate()
        assert worker.wait() == 0
        assert fleet.redis.zcard("otpreport:workers") == 0


def test_sighup(tmp_path: Path) -> None:
    """After SIGHUP it finishes as after SIGTERM and starts anew, with the options it had."""
    with Fleet(tmp_path, TENCENT, ALIBABA, plan=BUSY, settings=LONG) as fleet:
        worker = fleet.start_worker((*RUN, "--accounts", "tencent"))
        fleet.enqueue(100)
        fleet.wait_until_delivered(20)
        worker.send(signal.SIGHUP)
        fleet.enqueue(5, "alibaba")
        until(lambda: len(worker.lines("worker started")) == 2)
        until(lambda: fleet.books()["tencent"].settled)
        worker.terminate()
        assert worker.wait() == 0
        books = fleet.books()
        assert (books["tencent"].delivered, books["alibaba"].taken) == (100, 0)
        fleet.start_worker()
        fleet.wait_until_settled()
        assert not fleet.check().twice


def test_stopped_while_starting(tmp_path: Path) -> None:
    """A worker told to stop as soon as it runs ends, and whoever comes next finds every event."""
    with Fleet(tmp_path, TENCENT, plan=BUSY, settings=LONG) as fleet:
        fleet.enqueue(200)
        worker = fleet.launch()
        until(lambda: worker.lines("worker started"))
        worker.terminate()
        assert worker.wait(5 * GRACE) == 0
        assert fleet.books()["tencent"].held == 0
        fleet.start_worker()
        fleet.wait_until_settled()
        assert not fleet.check().twice


def test_rolling_restart(tmp_path: Path) -> None:
    """Workers replaced one after the other under load lose nothing and send nothing twice."""
    with Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet:
        old = fleet.start_workers(2)
        with fleet.producing(250):
            for worker in old:
                before = fleet.delivered()
                new = fleet.start_worker()
                fleet.wait_until_delivered(before + 1)
                worker.terminate()
                assert worker.wait(5 * GRACE) == 0
                assert new.running
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["tencent"].delivered == len(fleet.sent)
        assert not audit.twice
