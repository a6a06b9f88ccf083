"""`kill -9`: nothing is lost, what a dead worker held is back in time, and only what was in doubt is sent twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from otpreport.wire import encode
from tasks.message import decode
from tests.support.admin import admin
from tests.support.fleet import ALIBABA, LONG, PROMISE, SHORT, TENCENT, Account, Fleet
from tests.support.odd_worker import KILLS
from tests.support.wait import until
from tests.support.worker_process import ROOT, WorkerProcess, odd

LEASE = float(str(SHORT["lease"]))
SLOW = Account("tencent", "tencent", 400)
"""An account whose events take some seconds, so that workers are killed amid them."""

BUSY = {"latency": {"base_ms": 50, "jitter_ms": 30}}
ROUNDS = 2
OFTEN = ("after-lease", "after-answer")
"""The named points of every test run; the others are left to the long one."""


def held_ids(fleet: Fleet, worker: WorkerProcess) -> set[str]:
    """Return the message ids of the events that a worker holds by Redis' books."""
    client = admin(fleet.redis)
    tags: set[bytes] = client.smembers(f"otpreport:held:{worker.id}")
    records: list[bytes | None] = [
        client.hget(f"otpreport:taken:{tag.decode().partition(':')[0]}", tag) for tag in tags
    ]
    # one may be settled meanwhile: the dead worker's last call was still on its way
    messages = (decode(record.split(b"\n", 2)[2]) for record in records if record)
    return {str(message.kwargs["event"]["message_id"]) for message in messages}  # type: ignore[index, call-overload]  # an event


def kill_and_see_it_back(fleet: Fleet, worker: WorkerProcess) -> tuple[set[str], float]:
    """Kill a worker; return what it held and the seconds until others could have it."""
    worker.kill9()
    killed = time.monotonic()
    held = held_ids(fleet, worker)
    until(lambda: not fleet.redis.exists(f"otpreport:held:{worker.id}"), deadline=60)
    return held, time.monotonic() - killed


def test_busy_worker(tmp_path: Path) -> None:
    """Workers killed amid their work lose nothing; all they held is back in time; only that is ever sent twice."""
    with Fleet(tmp_path, SLOW, ALIBABA, plan=BUSY) as fleet:
        workers = fleet.start_workers(2)
        fleet.enqueue(1200)
        fleet.enqueue(300, "alibaba")
        in_doubt: set[str] = set()
        for number in range(2):
            fleet.wait_until_delivered((number + 1) * 250)
            held, seconds = kill_and_see_it_back(fleet, workers.pop(0))
            in_doubt |= held
            assert seconds < 5 * PROMISE * LEASE
            workers.append(fleet.launch())
        fleet.wait_until_settled()
        audit = fleet.check()
        assert sum(books.delivered for books in audit.books.values()) == 1500
        assert set(audit.twice) <= in_doubt
        assert in_doubt, "no worker was killed amid its work"


@pytest.mark.chaos
def test_both_workers(tmp_path: Path) -> None:
    """With every worker killed at once nothing is lost; the next one finds it all."""
    with Fleet(tmp_path, SLOW, plan=BUSY) as fleet:
        workers = fleet.start_workers(2)
        fleet.enqueue(600)
        fleet.wait_until_delivered(150)
        for worker in workers:
            worker.kill9()
        in_doubt = held_ids(fleet, workers[0]) | held_ids(fleet, workers[1])
        assert in_doubt
        fleet.start_worker()
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["tencent"].delivered == 600
        assert set(audit.twice) <= in_doubt


@pytest.mark.parametrize(
    "point", [point if point in OFTEN else pytest.param(point, marks=pytest.mark.chaos) for point in KILLS]
)
def test_at_a_named_point(tmp_path: Path, point: str) -> None:
    """A worker that dies just there loses nothing; it is sent twice only if the answer or the settle was lost."""
    with Fleet(tmp_path, TENCENT, plan=BUSY) as fleet:
        worker, dying = fleet.launch(), fleet.start_worker(odd(point))
        fleet.enqueue(300)
        assert dying.wait() == -signal.SIGKILL
        held = held_ids(fleet, dying)
        worker.wait_until_started()
        fleet.enqueue(50)
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["tencent"].delivered == 350
        assert set(audit.twice) <= held
        if point == "after-answer":
            assert audit.twice, "nothing was sent and not settled: the kill came at another point"


def have_arrived(fleet: Fleet, message_ids: set[str]) -> bool:
    """Tell whether the provider has seen all of these."""
    return message_ids <= {row["message_id"] for row in fleet.simulator.ledger()}


def test_frozen_worker(tmp_path: Path) -> None:
    """A worker that stood still for longer than its lease sends nothing of what it held: others have reported it."""
    with Fleet(tmp_path, SLOW, plan=BUSY) as fleet:
        worker, other = fleet.start_workers(2)
        with fleet.producing(350):
            for _ in range(2):
                before = fleet.delivered()
                fleet.wait_until_delivered(before + 100)
                fleet.enqueue(100)
                until(lambda: len(held_ids(fleet, worker)) > 35)  # some of them wait for a slot
                worker.freeze()
                held = held_ids(fleet, worker)
                time.sleep(0.3)  # what had left by then has arrived; what it held is still its own
                sent = {row["message_id"] for row in fleet.simulator.ledger()}
                until(lambda: not fleet.redis.exists(f"otpreport:held:{worker.id}"), deadline=60)
                worker.thaw()
                assert held - sent, "it held nothing that was not sent"
                until(lambda: worker.get("/readyz")[0] == 200)
                unsent = held - sent
                until(partial(have_arrived, fleet, unsent))
                assert not unsent & fleet.audit().twice.keys()
        fleet.wait_until_settled()
        books = fleet.check().books["tencent"]
        assert books.delivered + books.duplicate == len(fleet.sent)
        assert worker.metric("otpreport_leases_lost_total") > 0
        assert other.metric("otpreport_leases_lost_total") == 0


@contextmanager
def stock_worker(fleet: Fleet) -> Generator[int]:
    """Run a stock Celery worker on the stock redis:// transport; yield its process id."""
    environment = os.environ | {"STOCK_BROKER": fleet.valkey.url, "STOCK_PORT": str(fleet.valkey.port)}
    command = [sys.executable, "-m", "celery", "-A", "tests.support.stock_celery", "worker", "--pool=solo"]
    with (fleet.folder / "stock.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def stop_while_it_listens(fleet: Fleet, pid: int) -> None:
    """Stop a stock worker (SIGSTOP) at a moment when its BRPOP is under way."""

    def listens() -> bool:
        return bool(admin(fleet.redis).info("clients")["blocked_clients"])

    def stopped() -> bool:
        until(listens)
        os.kill(pid, signal.SIGSTOP)
        if listens():
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    until(stopped)


def push_one(fleet: Fleet, name: str) -> None:
    """Enqueue an event whose id is `name`."""
    event = fleet.events(1)[0].model_copy(update={"message_id": name})
    fleet.sent.append(event)
    fleet.push_raw(encode(event, task_id=name))


def ids_waiting(fleet: Fleet) -> str:
    """Return everything that stock Celery keeps of messages: its list and its unacknowledged ones."""
    client = admin(fleet.redis)
    waiting = [decode(raw).task_id for raw in client.lrange("otpreport.tencent", 0, -1)]
    return f"{waiting} {client.hvals('unacked')}"


def test_stock_celery_loses(tmp_path: Path) -> None:
    """The same kill as below loses a stock Celery worker's message: the test can see a loss."""
    with Fleet(tmp_path) as fleet:
        seen = admin(fleet.redis)
        for number in range(ROUNDS):
            with stock_worker(fleet) as pid:
                push_one(fleet, f"first-{number}")
                until(lambda: seen.llen("seen") == number + 1)  # noqa: B023 - called in this round
                stop_while_it_listens(fleet, pid)
                push_one(fleet, f"killed-{number}")
                until(lambda: not seen.llen("otpreport.tencent"))
                os.kill(pid, signal.SIGKILL)
        told = f"{seen.lrange('seen', 0, -1)} {ids_waiting(fleet)}"
        lost = [number for number in range(ROUNDS) if f"killed-{number}" not in told]
        print(f"stock Celery: {len(lost)} of {ROUNDS} lost")
        assert lost


def test_idle_worker(tmp_path: Path) -> None:
    """An idle worker stopped, given a message and killed loses nothing, nor one killed just as a message comes."""
    with Fleet(tmp_path, settings={**LONG, "lease": 16.0}) as fleet:
        fleet.configure(**{name: SHORT[name] for name in ("connect_timeout", "read_timeout", "lease")})
        for number in range(ROUNDS):
            worker = fleet.start_worker()
            push_one(fleet, f"first-{number}")
            fleet.wait_until_settled()
            if number:
                worker.freeze()
            push_one(fleet, f"killed-{number}")
            worker.kill9()
        fleet.start_worker()
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["tencent"].delivered == 2 * ROUNDS
