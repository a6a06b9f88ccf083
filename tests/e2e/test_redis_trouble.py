"""Trouble with Redis: nothing is lost, nothing is sent without a slot, and workers recover by themselves."""

import threading
from pathlib import Path

import pytest
import redis

from otpreport import Reporter
from tests.support.admin import admin, cut_all
from tests.support.background import again_and_again
from tests.support.fleet import LONG, PROMISE, SHORT, TENCENT, Account, Fleet
from tests.support.wait import until
from worker.embedded import EmbeddedValkey

SLOW = Account("tencent", "tencent", 300)
BUSY = {"latency": {"base_ms": 50, "jitter_ms": 50}}
LEASE = float(str(SHORT["lease"]))
CONNECTIONS = 4
"""Connections to Redis that a worker may have."""


def connections(fleet: Fleet) -> int:
    """Return how many clients Redis has, this test's own apart."""
    names = [client["lib-name"] for client in admin(fleet.redis).client_list()]
    return len(names) - 1


def delivered_once(fleet: Fleet, count: int) -> None:
    """Wait for the end; every event was delivered, and the provider heard of it once."""
    fleet.wait_until_settled()
    audit = fleet.check()
    assert audit.books["tencent"].delivered == count
    assert not audit.twice


def test_connections_killed(tmp_path: Path) -> None:
    """With every connection cut ten times a second all is delivered, once, and connections do not pile up."""
    with Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet:
        workers = fleet.start_workers(2)
        fleet.enqueue(900)
        client = redis.Redis(port=fleet.valkey.port)
        with client, again_and_again(lambda: cut_all(client), 0.1) as cut:
            until(lambda: len(cut) >= 20)
        assert sum(int(str(count)) for count in cut) >= 20, "no connection was cut"
        delivered_once(fleet, 900)
        assert connections(fleet) <= CONNECTIONS * len(workers)
        assert sum(worker.metric("otpreport_redis_errors_total") for worker in workers) > 0


def test_scripts_flushed(tmp_path: Path) -> None:
    """With the script cache emptied again and again all is delivered, once."""
    with Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(400)
        with again_and_again(lambda: admin(fleet.redis).script_flush(), 0.02):
            delivered_once(fleet, 400)
        assert worker.metric("otpreport_redis_errors_total") == 0


def test_redis_killed(tmp_path: Path) -> None:
    """Redis killed and started again with its append-only file: nothing is lost and nothing sent twice."""
    with Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG, options={"appendfsync": "always"}) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(900)
        for number in range(2):
            fleet.wait_until_delivered(200 * (number + 1))
            fleet.valkey.kill()
            until(lambda: worker.get("/readyz")[0] == 503)
            fleet.valkey.start()
            until(lambda: worker.get("/readyz")[0] == 200)
        delivered_once(fleet, 900)
        assert worker.lines("redis reachable again")


@pytest.mark.parametrize("seconds", [pytest.param(1.5 * LEASE, marks=pytest.mark.chaos), 3.5 * LEASE])
def test_redis_frozen(tmp_path: Path, seconds: float) -> None:
    """Redis frozen for longer than a lease: nothing is sent meanwhile, no lease is taken for a dead worker's."""
    with Fleet(tmp_path, SLOW, plan=BUSY) as fleet:
        workers = fleet.start_workers(2)
        fleet.enqueue(900)
        fleet.wait_until_delivered(200)
        fleet.valkey.freeze()
        silence = threading.Event()
        silence.wait(0.5)  # what had its slot has left by then
        before = fleet.arrivals()
        silence.wait(seconds)
        assert fleet.arrivals() == before, "events were sent without a slot"
        fleet.valkey.thaw()
        delivered_once(fleet, 900)
        assert sum(worker.metric("otpreport_events_recovered_total") for worker in workers) == 0


def test_redis_full(tmp_path: Path) -> None:
    """A Redis filled by its own backlog refuses new events and drains by itself: retries and dead letters, too."""
    faults = [
        {"kind": "unavailable", "message_id": "again-*", "arrivals": 1},
        {"kind": "code", "message_id": "wrong-*", "code": "InvalidParameterValue"},
    ]
    with Fleet(tmp_path, TENCENT, plan={**BUSY, "faults": faults}, settings=LONG) as fleet:
        for prefix, count in (("", 600), ("again-", 50), ("wrong-", 30)):
            fleet.enqueue(count, prefix=prefix)
        server = admin(fleet.redis)
        server.config_set("maxmemory", server.info("memory")["used_memory"] // 2)
        with Reporter(fleet.valkey.url, spool=False, timeout=5.0) as reporter:
            receipt = reporter.report(fleet.events(1)[0])
        assert receipt.status == "dropped"
        assert "maxmemory" in receipt.reason
        worker = fleet.start_worker()
        fleet.wait_until_settled()
        books = fleet.check().books["tencent"]
        assert (books.delivered, books.dead) == (650, 30)
        assert worker.metric("otpreport_redis_errors_total") == 0


def test_redis_away_at_start(tmp_path: Path) -> None:
    """Without Redis a worker says so in one line and is not ready; as soon as Redis is there, it works."""
    with Fleet(tmp_path, settings=LONG) as fleet:
        fleet.valkey.stop()
        worker = fleet.start_worker()
        until(lambda: worker.metric("otpreport_redis_errors_total") >= 3)
        assert len(worker.lines("redis unreachable")) == 1
        status, text = worker.get("/readyz")
        assert (status, text) == (503, "redis is unreachable\n")
        assert worker.get("/healthz")[0] == 200
        assert "Traceback" not in worker.text
        fleet.valkey.start()
        until(lambda: worker.get("/readyz")[0] == 200)
        fleet.enqueue(100)
        delivered_once(fleet, 100)


def test_wrong_password(tmp_path: Path) -> None:
    """A password that Redis refuses is told as that, without the password; made right, it works."""
    with Fleet(tmp_path, settings=LONG) as fleet:
        server, url = admin(fleet.redis), f"redis://worker:pass-of-ours@127.0.0.1:{fleet.valkey.port}/0"
        fleet.configure(redis_url=url)
        worker = fleet.start_worker()
        lines = until(lambda: worker.lines("redis refuses"))
        assert "username-password" in lines[0]["reason"]
        assert worker.get("/readyz")[0] == 503
        server.execute_command("ACL", "SETUSER", "worker", "on", ">pass-of-ours", "~*", "+@all")
        fleet.enqueue(50)
        delivered_once(fleet, 50)
        assert "pass-of-ours" not in worker.text
        assert "Traceback" not in worker.text


def test_another_redis_on_the_port(tmp_path: Path) -> None:
    """When the server that comes back is another one, empty, the workers serve it."""
    with Fleet(tmp_path, settings=LONG) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(50)
        delivered_once(fleet, 50)
        fleet.valkey.stop()
        until(lambda: worker.get("/readyz")[0] == 503)
        fleet.valkey = EmbeddedValkey(tmp_path / "another", port=fleet.valkey.port)
        fleet.valkey.start()
        fleet.enqueue(50)
        delivered_once(fleet, 50)


def test_limiter_lost(tmp_path: Path) -> None:
    """With the limiter's keys deleted all the time all is delivered, once."""
    with Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet:
        fleet.start_workers(2)
        fleet.enqueue(300)
        server = admin(fleet.redis)
        with again_and_again(
            lambda: server.delete(*server.keys("otpreport:rate:*"), "otpreport:rate:-"), 0.3
        ):
            delivered_once(fleet, 300)


def test_leases_lost(tmp_path: Path) -> None:
    """With every lease deleted amid the work what stood in no place any more is found and reported in time."""
    with Fleet(tmp_path, SLOW, plan=BUSY) as fleet:
        fleet.start_workers(2)
        fleet.enqueue(600)
        server = admin(fleet.redis)
        fleet.wait_until_delivered(200)
        server.delete("otpreport:workers", *server.keys("otpreport:held:*"))
        fleet.wait_until_settled(5 * PROMISE * LEASE + 600 / SLOW.rate * 5)
        audit = fleet.check()
        books = audit.books["tencent"]
        assert books.delivered + books.duplicate == 600
        assert not audit.twice
