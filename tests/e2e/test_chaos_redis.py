"""Trouble with Redis at length: cut, killed, frozen, full, and its keys deleted under load."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from otpreport import Reporter
from tests.support.admin import OURS, admin, cut_all
from tests.support.background import again_and_again
from tests.support.chaos import LEASE, SETTINGS, Row, Trial, longest_silence, record
from tests.support.fleet import LONG, PROMISE, TENCENT, Account, Fleet
from tests.support.stock import Stock
from tests.support.wait import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

STEADY = Account("tencent", "tencent", 300)
BUSY = {"latency": {"base_ms": 50, "jitter_ms": 50}}
CUTS, CUTS_OF_STOCK = 40, 40
RESTARTS = 5
FREEZES = 3
FLUSHES = 200
DELETIONS = 10

CUT = "every connection to Redis cut (`CLIENT KILL`)"
FULL = "Redis full (`maxmemory`, noeviction)"


@contextmanager
def separate(fleet: Fleet) -> Generator[redis.Redis]:
    """Yield a client for the harm, apart from the judge's."""
    with redis.Redis(port=fleet.valkey.port, socket_timeout=60, client_name=OURS) as client:
        yield client


def harm_under_load(fleet: Fleet, trial: Trial, harm: Callable[[], object], times: int, pause: float) -> None:
    """Do harm so many times while events come in; the longest silence at the provider is the time to recover."""
    workers = fleet.start_workers(2)
    fleet.enqueue(300)
    fleet.wait_until_settled()
    trial.watch(workers)
    began = time.time()
    fleet.enqueue(round(times * pause * STEADY.rate) + 300)
    with again_and_again(harm, pause) as done:
        until(lambda: len(done) >= times, deadline=times * (pause + 2))
    trial.times = len(done)
    fleet.wait_until_settled(300)
    trial.seconds.append(longest_silence(fleet, began))


def test_connections_cut(tmp_path: Path) -> None:
    """Forty times every connection cut under load: all is delivered, once, and connections do not pile up."""
    with Fleet(tmp_path, STEADY, plan=BUSY, settings=LONG) as fleet, separate(fleet) as client:
        trial = Trial(fleet, CUT)
        harm_under_load(fleet, trial, lambda: cut_all(client), CUTS, 0.25)
        trial.end()
        assert sum(worker.metric("otpreport_redis_errors_total") for worker in fleet.workers) > 0


def test_connections_of_stock_celery_cut(tmp_path: Path) -> None:
    """Stock Celery under the same cuts; whether one of them hits an event on its way is a matter of luck."""
    with Fleet(tmp_path) as fleet, Stock(fleet) as stock, separate(fleet) as client:
        stock.start()
        for _ in range(CUTS_OF_STOCK):
            fleet.enqueue(max(0, 400 - admin(fleet.redis).llen("otpreport.tencent")))
            done = admin(fleet.redis).llen("seen")
            until(lambda: admin(fleet.redis).llen("seen") > done + 20, deadline=60)  # noqa: B023 - called in this round
            cut_all(client)
            if not stock.running:
                stock.start()
        stock.kill()
        record(Row(CUT, CUTS_OF_STOCK, len(fleet.sent), stock.lost(), stock=True))


def test_scripts_flushed(tmp_path: Path) -> None:
    """With the script cache emptied again and again all is delivered, once."""
    with Fleet(tmp_path, STEADY, plan=BUSY, settings=LONG) as fleet, separate(fleet) as client:
        trial = Trial(fleet, "`SCRIPT FLUSH`")
        harm_under_load(fleet, trial, lambda: admin(client).script_flush(), FLUSHES, 0.04)
        trial.end()
        assert sum(worker.metric("otpreport_redis_errors_total") for worker in fleet.workers) == 0


def back(fleet: Fleet, since: float) -> float:
    """Wait for the next arrival at the provider and return the seconds from `since` (monotonic) until then."""
    before = fleet.arrivals()
    fleet.wait_until_arrived(before + 1)
    return time.monotonic() - since


def test_redis_killed(tmp_path: Path) -> None:
    """Redis killed and started again with its append-only file: nothing is lost and nothing sent twice."""
    with Fleet(tmp_path, STEADY, plan=BUSY, settings=LONG, options={"appendfsync": "always"}) as fleet:
        trial = Trial(fleet, "Redis: `kill -9`, started again (AOF, `appendfsync always`)")
        workers = fleet.start_workers(2)
        fleet.enqueue(RESTARTS * 400)
        for number in range(RESTARTS):
            fleet.wait_until_delivered(200 * (number + 1))
            if not number:
                trial.watch(workers)
            fleet.valkey.kill()
            until(lambda: all(worker.get("/readyz")[0] == 503 for worker in workers))
            fleet.valkey.start()
            trial.seconds.append(back(fleet, time.monotonic()))
            trial.times += 1
        trial.end()


def freeze(fleet: Fleet, seconds: float) -> None:
    """Stop the server's process for so long."""
    fleet.valkey.freeze()
    quiet(fleet, seconds)
    fleet.valkey.thaw()


def pause(fleet: Fleet, seconds: float) -> None:
    """Let the server answer nobody for so long."""
    admin(fleet.redis).client_pause(round(seconds * 1000), all=True)
    quiet(fleet, seconds)


def quiet(fleet: Fleet, seconds: float) -> None:
    """Wait; AssertionError when anything is sent meanwhile, save what had its slot."""
    end = time.monotonic() + seconds
    time.sleep(0.6)  # what had its slot has left by then
    before = fleet.arrivals()
    time.sleep(max(0.0, end - time.monotonic() - 0.3))
    assert fleet.arrivals() == before, "events were sent without a slot"
    time.sleep(max(0.0, end - time.monotonic()))


FREEZE = {"SIGSTOP": freeze, "CLIENT PAUSE": pause}


@pytest.mark.parametrize("how", FREEZE)
def test_redis_frozen(tmp_path: Path, how: str) -> None:
    """Redis frozen for longer than a lease: nothing is sent meanwhile, no lease is taken for a dead worker's."""
    with Fleet(tmp_path, STEADY, plan=BUSY, settings=SETTINGS) as fleet:
        trial = Trial(fleet, f"Redis frozen for one and a half leases ({how})")
        workers = fleet.start_workers(2)
        fleet.enqueue(FREEZES * 500)
        for number in range(FREEZES):
            fleet.wait_until_delivered(300 * (number + 1))
            if not number:
                trial.watch(workers)
            FREEZE[how](fleet, 1.5 * LEASE)
            trial.seconds.append(back(fleet, time.monotonic()))
            trial.times += 1
        trial.end()
        assert sum(worker.metric("otpreport_events_recovered_total") for worker in workers) == 0


def fill(fleet: Fleet) -> None:
    """Allow the server half of the memory that it uses."""
    server = admin(fleet.redis)
    server.config_set("maxmemory", server.info("memory")["used_memory"] // 2)


def test_redis_full(tmp_path: Path) -> None:
    """A Redis filled by its backlog refuses new events and drains by itself: deliveries, retries and dead letters."""
    faults = [
        {"kind": "unavailable", "message_id": "again-*", "arrivals": 1},
        {"kind": "code", "message_id": "wrong-*", "code": "InvalidParameterValue"},
    ]
    with Fleet(tmp_path, TENCENT, plan={**BUSY, "faults": faults}, settings=LONG) as fleet:
        trial = Trial(fleet, FULL)
        workers = fleet.start_workers(2)
        fleet.enqueue(200)
        fleet.wait_until_settled()
        trial.watch(workers)
        for prefix, count in (("", 4000), ("again-", 300), ("wrong-", 30)):
            fleet.enqueue(count, prefix=prefix)
        fill(fleet)
        trial.times = 1
        with Reporter(fleet.valkey.url, spool=False, timeout=5.0) as reporter:
            assert reporter.report(fleet.events(1)[0]).status == "dropped"
        trial.seconds.append(back(fleet, time.monotonic()))
        trial.end(dead=30)
        assert sum(worker.metric("otpreport_redis_errors_total") for worker in workers) == 0


def test_stock_celery_with_redis_full(tmp_path: Path) -> None:
    """Stock Celery pops an event, can't note it, and has lost it."""
    with Fleet(tmp_path) as fleet, Stock(fleet) as stock:
        for _ in range(FREEZES):
            admin(fleet.redis).config_set("maxmemory", 0)
            fleet.enqueue(600)
            stock.start()
            fill(fleet)
            until(lambda: not stock.running, deadline=30)
        record(Row(FULL, FREEZES, len(fleet.sent), lost := stock.lost(), stock=True))
        assert lost


def test_limiter_lost(tmp_path: Path) -> None:
    """With the limiter's keys deleted under load all is delivered, once."""
    with Fleet(tmp_path, STEADY, plan=BUSY, settings=LONG) as fleet, separate(fleet) as client:
        trial = Trial(fleet, "the limiter's keys deleted")
        server = admin(client)
        harm_under_load(
            fleet, trial, lambda: server.delete(*server.keys("otpreport:rate:*"), "-"), 2 * DELETIONS, 0.5
        )
        trial.end()


INDEX_KEYS = {
    "the workers' leases deleted": "otpreport:workers",
    "what workers hold, deleted": "otpreport:held:*",
    "the schedule of retries deleted": "otpreport:scheduled:*",
}


@pytest.mark.parametrize("fault", INDEX_KEYS)
def test_index_lost(tmp_path: Path, fault: str) -> None:
    """With an index deleted under load what stands in no place any more is found; what was sent isn't sent again."""
    refused = {"faults": [{"kind": "unavailable", "arrivals": 1, "share": 0.3}]}
    with (
        Fleet(tmp_path, STEADY, plan={**BUSY, **refused}, settings=SETTINGS) as fleet,
        separate(fleet) as client,
    ):
        trial = Trial(fleet, fault)
        server = admin(client)

        def delete() -> object:
            return server.delete(*server.keys(INDEX_KEYS[fault]), "-")

        workers = fleet.start_workers(2)
        trial.watch(workers)
        fleet.enqueue(3000)
        with again_and_again(delete, 0.7) as done:
            until(lambda: len(done) >= DELETIONS)
        trial.times = len(done)
        ended = time.monotonic()
        fleet.wait_until_settled(5 * PROMISE * LEASE + 60)
        trial.seconds.append(time.monotonic() - ended)
        trial.end()
