"""Redis as people run it, under a whole worker: other servers, TLS, users, prefixes, failovers, a start without it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from otpreport import Reporter
from tests.e2e.test_main_job import check_books, check_ledger, plan, send_everything
from tests.support.admin import OURS, admin
from tests.support.fleet import ALIBABA, ALIBABA_CN, LONG, TENCENT, Account, Fleet
from tests.support.proxy import Proxy
from tests.support.redis_servers import (
    PASSWORD,
    Sentinelled,
    TlsServer,
    add_user,
    catch_up,
    cut_off,
    debians,
    follow,
    needs_debians,
)
from tests.support.wait import until
from tests.support.worker_process import CELERY, RUN, WorkerProcess
from worker.embedded import EmbeddedValkey, free_port

PREFIX = "shop:"
SLOW = Account("tencent", "tencent", 400)
BUSY = {"latency": {"base_ms": 30, "jitter_ms": 40}}
PATIENCE = 20.0


@needs_debians
def test_main_job_on_redis_7_0(tmp_path: Path) -> None:
    """Debian's Redis 7.0 does all that Valkey does."""
    few = {"max_attempts": 4}
    accounts = [Account(a.name, a.provider, a.rate, few) for a in (TENCENT, ALIBABA, ALIBABA_CN)]
    fleet = Fleet(tmp_path, *accounts, plan=plan(), settings={**LONG, "retry_base": 0.1, "retry_cap": 0.3})
    fleet.valkey = debians(tmp_path / "redis")
    with fleet:
        assert admin(fleet.redis).info("server")["redis_version"].startswith("7.0.")
        fleet.start_worker()
        send_everything(fleet)
        fleet.wait_until_settled()
        check_books(fleet)
        check_ledger(fleet)


FOREIGN: dict[str, Any] = {
    "otpreport.tencent": ["not for this fleet"] * 3,
    "otpreport:books": {"tencent:taken": "7"},
    "otpreport:workers": ["gone"],
    "shop:cart:1": {"item": "1"},
    "shop:otpreports": ["ours by no means"],
    "shopotpreport.tencent": ["x"],
    "celery": ["{}"],
    "cart": "1",
}
"""Keys of others beside ours: no prefix, another one, nearly ours."""


def fill(client: Any) -> None:
    """Write the keys of others."""
    for key, value in FOREIGN.items():
        match value:
            case list():
                client.rpush(key, *value)
            case dict():
                client.hset(key, mapping=value)
            case _:
                client.set(key, value)


def dumped(client: Any) -> dict[str, bytes]:
    """Return the keys of others as they are now."""
    return {key: client.dump(key) for key in FOREIGN}


@needs_debians
def test_shared_redis(tmp_path: Path) -> None:
    """Behind TLS, on database 1, with the least rights and a prefix the job is done, and nothing else is touched."""
    tls = TlsServer(tmp_path)
    fleet = Fleet(tmp_path, TENCENT, ALIBABA, settings={**LONG, "key_prefix": PREFIX})
    fleet.valkey = tls.server
    with fleet, redis.Redis(port=tls.server.port, db=1, client_name=OURS) as fleet.redis:
        for user in ("otpreport-worker", "otpreport-web"):
            add_user(tls.server.port, user, prefix=PREFIX)
        fill(fleet.redis)
        before = dumped(fleet.redis)
        fleet.configure(redis_url=tls.url("otpreport-worker", database=1))
        worker = fleet.start_worker()
        fleet.enqueue(300, "tencent")
        with Reporter(
            tls.url("otpreport-web", database=1), spool=False, timeout=PATIENCE, key_prefix=PREFIX
        ) as reporter:
            events = fleet.events(200, "alibaba")
            assert reporter.report_many(events).queued == 200
            fleet.sent += events
        fleet.wait_until_settled()
        audit = fleet.check()
        assert (audit.books["tencent"].delivered, audit.books["alibaba"].delivered) == (300, 200)
        assert dumped(fleet.redis) == before
        ours = {key.decode() for key in admin(fleet.redis).keys("*")} - FOREIGN.keys()
        assert ours
        assert all(re.match(r"shop:otpreport[.:]", key) for key in ours)
        worker.terminate()
        assert worker.wait() == 0
        assert not worker.lines("redis unreachable")
        assert PASSWORD not in worker.text + worker.output


def judge_by(fleet: Fleet, server: EmbeddedValkey) -> None:
    """Read the books on another server from now on."""
    fleet.redis.close()
    fleet.redis = redis.Redis(port=server.port, socket_timeout=30, client_name=OURS)


def report(fleet: Fleet, reporter: Reporter, count: int) -> set[str]:
    """Hand new events to the web app's client and return their ids; AssertionError when it drops one."""
    events = fleet.events(count)
    receipts = reporter.report_many(events)
    assert receipts.queued + receipts.spooled == count
    fleet.sent += events
    return {event.message_id for event in events}


def taken(fleet: Fleet) -> set[str]:
    """Return the ids that the provider has taken."""
    return {row["message_id"] for row in fleet.simulator.ledger() if row["taken"]}


@pytest.mark.compat
def test_master_dies(tmp_path: Path) -> None:
    """After a failover all go on at the new master by themselves; lost is at most what its replica lacked."""
    with (
        Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet,
        Sentinelled(tmp_path, fleet.valkey) as servers,
        Reporter(servers.url, spool=tmp_path / "spool", timeout=PATIENCE) as reporter,
    ):
        fleet.configure(redis_url=servers.url)
        worker = fleet.start_worker()
        copied = report(fleet, reporter, 1500)
        fleet.wait_until_delivered(300)
        admin(fleet.redis).wait(1, 10_000)
        cut_off(servers.replica.port, servers.master.port)
        with redis.Redis(port=servers.replica.port) as copy:
            settled = sum(
                int(n) for field, n in admin(copy).hgetall("otpreport:books").items() if b"deliv" in field
            )
        lacking = report(fleet, reporter, 300)
        until(lambda: fleet.arrivals() >= settled + 200)
        servers.master.kill()
        doubtful = fleet.arrivals() - settled
        servers.wait_until_master(servers.replica.port)
        judge_by(fleet, servers.replica)
        later = report(fleet, reporter, 200)
        until(lambda: later | copied <= taken(fleet), deadline=90)
        fleet.wait_until_settled()
        audit = fleet.audit()
        print(f"lost {len(audit.lost)} of {len(lacking)} that the replica lacked; sent twice {audit.twice.total()},"
              f" at most {doubtful}")  # fmt: skip
        assert set(audit.lost) <= lacking
        assert audit.twice.total() <= doubtful
        assert not audit.strangers
        assert not audit.books["tencent"].faults()
        assert worker.get("/readyz")[0] == 200
        assert worker.metric("otpreport_internal_errors_total") == 0


@pytest.mark.chaos
def test_roles_are_switched(tmp_path: Path) -> None:
    """When a replica that holds all takes over behind one address, all follow: nothing is lost or sent twice."""
    with (
        Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet,
        EmbeddedValkey(tmp_path / "replica") as replica,
        Proxy(fleet.valkey.port) as proxy,
        Reporter(proxy.url, spool=tmp_path / "spool", timeout=PATIENCE) as reporter,
    ):
        follow(replica.port, fleet.valkey.port)
        fleet.configure(redis_url=proxy.url)
        workers = fleet.start_workers(2)
        report(fleet, reporter, 1500)
        fleet.wait_until_delivered(300)
        catch_up(replica.port, fleet.valkey.port)
        proxy.target = replica.port
        admin(replica.port).replicaof("NO", "ONE")
        with admin(fleet.valkey.port) as old:
            old.replicaof("127.0.0.1", replica.port)
            old.client_unpause()
        judge_by(fleet, replica)
        report(fleet, reporter, 300)
        until(lambda: len(taken(fleet)) == 1800, deadline=90)
        fleet.wait_until_settled()
        assert fleet.check().twice.total() == 0
        lines = [line for worker in workers for line in worker.lines("redis unreachable")]
        assert any("no master to write to" in line["reason"] for line in lines)


@pytest.mark.compat
def test_sentinel_switches_roles(tmp_path: Path) -> None:
    """When an operator lets the sentinel switch roles, the workers leave the old master before it has been told."""
    with (
        Fleet(tmp_path, SLOW, plan=BUSY, settings=LONG) as fleet,
        Sentinelled(tmp_path, fleet.valkey) as servers,
    ):
        fleet.configure(redis_url=servers.url)
        worker = fleet.start_worker()
        fleet.enqueue(1500)
        fleet.wait_until_delivered(300)
        servers.fail_over()
        judge_by(fleet, servers.replica)
        with admin(servers.replica.port) as new:
            until(lambda: worker.id in str(new.zrange("otpreport:workers", 0, -1)))
        until(lambda: len(taken(fleet)) == 1500, deadline=90)
        fleet.wait_until_settled()
        audit = fleet.check()
        print(f"sent twice {audit.twice.total()}")


# A start without Redis, or with one that is not fit.


def wait_for_tries(worker: WorkerProcess, count: int) -> list[dict[str, Any]]:
    """Wait until the worker has tried so often in vain, and return what it said of it."""
    until(lambda: worker.metric("otpreport_redis_errors_total") >= count, deadline=40)
    return worker.lines("redis unreachable")


@pytest.mark.chaos
def test_start_without_redis(tmp_path: Path) -> None:
    """A worker without Redis says so, tries again, is not ready, and begins as soon as Redis is there."""
    port = free_port()
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        fleet.configure(redis_url=f"redis://someone:{PASSWORD}@127.0.0.1:{port}/0")
        worker = fleet.start_worker()
        lines = wait_for_tries(worker, 3)
        assert {line["redis"] for line in lines} == {f"redis://127.0.0.1:{port}/0"}
        assert all("refused" in line["reason"] and line["retry_seconds"] > 0 for line in lines)
        assert worker.get("/readyz") == (503, "redis is unreachable\n")
        assert worker.get("/healthz")[0] == 200
        with EmbeddedValkey(tmp_path / "late", port=port) as late, admin(port) as client:
            client.execute_command("ACL", "SETUSER", "someone", "on", ">other", "~*", "+@all")
            until(lambda: "invalid username" in str(worker.lines("redis refuses")), deadline=20)
            client.execute_command("ACL", "SETUSER", "someone", f">{PASSWORD}")
            until(lambda: worker.get("/readyz")[0] == 200, deadline=30)
            judge_by(fleet, late)
            fleet.enqueue(20)
            fleet.wait_until_settled()
            assert fleet.check().books["tencent"].delivered == 20
            worker.terminate()
            assert worker.wait() == 0
        assert PASSWORD not in worker.text + worker.output


@pytest.mark.parametrize("command", [RUN, pytest.param(CELERY, marks=pytest.mark.compat)])
def test_stop_without_redis(tmp_path: Path, command: Sequence[str]) -> None:
    """A worker that still waits for Redis ends at once when told to, with status 0."""
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        fleet.configure(redis_url=f"redis://127.0.0.1:{free_port()}/0")
        worker = fleet.start_worker(command)
        wait_for_tries(worker, 1)
        worker.terminate()
        assert worker.wait(20) == 0


@pytest.mark.parametrize("command", [RUN, pytest.param(CELERY, marks=pytest.mark.compat)])
def test_redis_without_scripting(tmp_path: Path, command: Sequence[str]) -> None:
    """A user who may run no scripts ends the worker with one line and status 2, before it takes an event."""
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        add_user(fleet.valkey.port, "otpreport-worker", "-evalsha", "-eval")
        fleet.configure(redis_url=f"redis://otpreport-worker:{PASSWORD}@127.0.0.1:{fleet.valkey.port}/0")
        fleet.enqueue(5)
        worker = fleet.launch(command)
        assert worker.wait(40) == 2
        (line,) = worker.lines("redis is not fit")
        assert "evalsha" in line["reason"]
        assert line["redis"] == f"redis://127.0.0.1:{fleet.valkey.port}/0"
        assert PASSWORD not in worker.text + worker.output
        assert "Traceback" not in worker.text
        assert fleet.books()["tencent"].ready == 5
