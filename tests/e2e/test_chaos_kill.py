"""`kill -9` at length: at random instants, at named points, of idle workers, and the same of stock Celery."""

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from tests.e2e.test_kill import push_one
from tests.support.admin import admin
from tests.support.chaos import LEASE, SETTINGS, Row, Trial, record
from tests.support.chaos_worker import COMMAND as AMID_SETTLE
from tests.support.fleet import ALIBABA, PROMISE, TENCENT, Account, Fleet
from tests.support.odd_worker import KILLS
from tests.support.stock import Stock
from tests.support.wait import until
from tests.support.worker_process import WorkerProcess, odd

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

STEADY = Account("tencent", "tencent", 400)
BUSY = {"latency": {"base_ms": 50, "jitter_ms": 30}}
RANDOM_KILLS, EVENTS = 50, 20_000
POINT_KILLS = 4
IDLE_KILLS = 10

RANDOM = "`kill -9` of a busy worker at a random instant"
IDLE = {
    "stopped": "idle worker: SIGSTOP, push, `kill -9`",
    "arriving": "idle worker: push and `kill -9` at once",
}


def pass_time(seconds: float) -> None:
    """Let the workers work on: the instant of a kill is the point."""
    threading.Event().wait(seconds)


def test_random_kills(tmp_path: Path) -> None:
    """Fifty kills at random instants among 20,000 events lose none, and all that was held is back in time."""
    chance = random.Random(20261122)
    each = EVENTS // RANDOM_KILLS
    with Fleet(tmp_path, STEADY, ALIBABA, plan=BUSY, settings=SETTINGS) as fleet:
        trial = Trial(fleet, RANDOM)
        workers = fleet.start_workers(2)
        for _ in range(RANDOM_KILLS):
            fleet.enqueue(each - each // 4)
            fleet.enqueue(each // 4, "alibaba")
            pass_time(chance.uniform(0.0, 0.7))
            workers.append(fleet.launch())
            trial.kill(workers.pop(0))
            workers[-1].wait_until_started()
        audit = trial.end()
        assert sum(books.delivered + books.duplicate for books in audit.books.values()) == EVENTS
        assert max(trial.seconds) < 5 * PROMISE * LEASE
        assert trial.in_doubt, "no worker was killed amid its work"


def test_random_kills_of_stock_celery(tmp_path: Path) -> None:
    """The same kills lose events of stock Celery, late acknowledgement or not: the suite can see a loss."""
    chance = random.Random(20261122)
    with Fleet(tmp_path) as fleet, Stock(fleet) as stock:
        stock.start()
        for _ in range(RANDOM_KILLS):
            fleet.enqueue(400 - admin(fleet.redis).llen("otpreport.tencent"))
            pass_time(chance.uniform(0.0, 0.7))
            stock.kill()
            stock.start()
        lost = stock.lost()
        record(Row(RANDOM, RANDOM_KILLS, len(fleet.sent), lost, stock=True))
        assert lost


POINTS = {point: odd(point) for point in KILLS} | {"amid-settle": AMID_SETTLE}


@pytest.mark.parametrize("point", POINTS)
def test_at_a_named_point(tmp_path: Path, point: str) -> None:
    """Four workers that die just there lose nothing; sent twice is only what one of them had sent and not settled."""
    with Fleet(tmp_path, TENCENT, plan=BUSY, settings=SETTINGS) as fleet:
        trial = Trial(fleet, f"`kill -9` {point.replace('-', ' ')}")
        worker = fleet.start_worker()
        dying = [fleet.launch(POINTS[point]) for _ in range(POINT_KILLS)]

        def all_are_dead() -> bool:
            for victim in [victim for victim in dying if not victim.running]:
                trial.died(victim)
                assert victim.wait() == -signal.SIGKILL
                dying.remove(victim)
            return not dying

        with fleet.producing(300):
            until(all_are_dead, deadline=120)
        assert worker.running
        trial.end()


def leave_to_die(fleet: Fleet, how: str, number: int) -> WorkerProcess:
    """Give a message to an idle worker that is killed just then, and return the worker."""
    worker = fleet.start_worker()
    push_one(fleet, f"first-{number}")
    fleet.wait_until_settled()
    if how == "stopped":
        worker.freeze()
    push_one(fleet, f"killed-{number}")
    worker.kill9()
    return worker


@pytest.mark.parametrize("how", IDLE)
def test_idle_worker(tmp_path: Path, how: str) -> None:
    """An idle worker that dies just as a message comes loses nothing."""
    with Fleet(tmp_path, settings=SETTINGS) as fleet:
        trial = Trial(fleet, IDLE[how])
        for number in range(IDLE_KILLS):
            trial.died(leave_to_die(fleet, how, number))
        fleet.start_worker()
        trial.end()


def stop_while_it_listens(fleet: Fleet, stock: Stock) -> None:
    """Stop a stock worker (SIGSTOP) at a moment when its BRPOP is under way."""

    def listens() -> bool:
        return bool(admin(fleet.redis).info("clients")["blocked_clients"])

    def stopped() -> bool:
        until(listens)
        os.kill(stock.pid, signal.SIGSTOP)
        if listens():
            return True
        os.kill(stock.pid, signal.SIGCONT)
        return False

    until(stopped)


@pytest.mark.parametrize("how", IDLE)
def test_idle_stock_celery(tmp_path: Path, how: str) -> None:
    """A stock worker stopped and killed as its message comes has lost it."""
    with Fleet(tmp_path) as fleet, Stock(fleet) as stock:
        for number in range(IDLE_KILLS):
            stock.start()
            if how == "stopped":
                stop_while_it_listens(fleet, stock)
            push_one(fleet, f"killed-{number}")
            stock.kill()
        lost = stock.lost()
        record(Row(IDLE[how], IDLE_KILLS, len(fleet.sent), lost, stock=True))
        assert lost or how == "arriving"
