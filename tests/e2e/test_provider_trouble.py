"""Trouble with the provider: what may have been taken is in doubt, what can't be reported waits or is told."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.support.admin import admin
from tests.support.fleet import ALIBABA, LONG, SHORT, TENCENT, Fleet
from tests.support.proxy import Proxy
from tests.support.wait import until
from worker.embedded import free_port

COUNT = 40
SOON = {**LONG, "read_timeout": 1.0, "connect_timeout": 1.0, "breaker_calls": 0}
"""Leases that last, answers that are not waited for long, and no breaker: each event is on its own."""

# fault -> whether the provider takes the report although no good answer comes
BROKEN: dict[str, bool] = {
    "close": False,
    "drip": True,
    "empty": False,
    "hang": False,
    "html": False,
    "lost": True,
    "reset": False,
    "truncated": False,
    "unavailable": False,
}


def test_no_good_answer(tmp_path: Path) -> None:
    """Each event is in doubt once, sent again once, and delivered; taken twice only if the provider took the first."""
    faults = [
        {
            "kind": kind,
            "message_id": f"{kind}-*",
            "arrivals": 1,
            "delay_ms": 60_000 if kind == "drip" else None,
        }
        for kind in BROKEN
    ]
    with Fleet(tmp_path, ALIBABA, plan={"faults": faults}, settings=SOON) as fleet:
        worker = fleet.start_worker()
        for kind in BROKEN:
            fleet.enqueue(COUNT, "alibaba", prefix=f"{kind}-")
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["alibaba"].delivered == COUNT * len(BROKEN)
        assert worker.metric("otpreport_attempts_total", result="unknown") == COUNT * len(BROKEN)
        arrivals = Counter(row["message_id"].partition("-")[0] for row in fleet.simulator.ledger())
        assert arrivals == dict.fromkeys(BROKEN, 2 * COUNT)
        twice = Counter(id_.partition("-")[0] for id_ in audit.twice)
        assert twice == {kind: COUNT for kind, taken in BROKEN.items() if taken}


def test_always_lost(tmp_path: Path) -> None:
    """An event whose every answer is lost is sent MAX_ATTEMPTS times, then is a dead letter, in doubt."""
    account = replace(TENCENT, settings={"max_attempts": 3})
    with Fleet(tmp_path, account, plan={"faults": [{"kind": "lost"}]}, settings=SOON) as fleet:
        fleet.start_worker()
        fleet.enqueue(10)
        fleet.wait_until_settled()
        fleet.check()
        stories = [story for story, _ in fleet.dead_letters()]
        assert len(stories) == 10
        assert {(story["reason"], story["in_doubt"], len(story["attempts"])) for story in stories} == {
            ("exhausted", True, 3)
        }
        assert fleet.arrivals() == 30


def test_nobody_listens(tmp_path: Path) -> None:
    """While nobody listens at the provider's address nothing is in doubt; when somebody does, all is delivered."""
    port = free_port()
    account = replace(TENCENT, settings={"endpoint": f"http://127.0.0.1:{port}", "max_attempts": 100})
    with Fleet(tmp_path, account, settings=SOON) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(50)
        until(lambda: worker.metric("otpreport_attempts_total", result="not_sent") >= 100)
        assert worker.metric("otpreport_attempts_total", result="unknown") == 0
        with Proxy(int(fleet.simulator.url.rpartition(":")[2]), listen=port):
            fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 50
        assert fleet.arrivals() == 50


def state(fleet: Fleet, account: str) -> dict[str, str]:
    """Return what all workers know of an account."""
    stored: dict[bytes, bytes] = admin(fleet.redis).hgetall(f"otpreport:account:{account}")
    return {name.decode(): value.decode() for name, value in stored.items()}


def probe_now(fleet: Fleet, account: str) -> None:
    """Let the next probe of a stopped account be due at once, not in half a minute."""
    admin(fleet.redis).hset(f"otpreport:account:{account}", "probe_at_ms", 0)


def test_wrong_credentials(tmp_path: Path) -> None:
    """A wrong key stops its account: events wait, none dies, the other goes on; with the right key it resumes."""
    wrong = replace(TENCENT, settings={"secret_key": "mistyped"})
    with Fleet(tmp_path, wrong, ALIBABA, settings=LONG) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(500)
        until(lambda: state(fleet, "tencent").get("state") == "stopped")
        assert state(fleet, "tencent")["code"] == "AuthFailure.SignatureFailure"
        fleet.enqueue(100, "alibaba")
        until(lambda: fleet.books()["alibaba"].settled)
        refused = fleet.simulator.key("tencent")["arrivals"]
        assert refused < 400, "the account was not stopped"
        books = fleet.books()["tencent"]
        assert (books.delivered, books.dead, books.ready + books.open) == (0, 0, 500)
        (line,) = until(lambda: worker.lines("account refused"))
        assert (line["account"], line["level"], line["code"]) == (
            "tencent",
            "error",
            "AuthFailure.SignatureFailure",
        )
        worker.terminate()
        worker.wait()
        fleet.accounts["tencent"] = TENCENT
        fleet.configure()
        worker = fleet.start_worker()
        probe_now(fleet, "tencent")
        fleet.wait_until_settled()
        audit = fleet.audit()
        assert audit.forged == fleet.simulator.key("tencent")["arrivals"] - 500
        assert audit.books["tencent"].delivered == 500
        assert not audit.lost
        assert not audit.twice
        assert "state" not in state(fleet, "tencent")


@pytest.mark.chaos
def test_probes(tmp_path: Path) -> None:
    """A stopped account sends one probe at a time, another event each, and resumes by itself when one gets through."""
    refusing = {"faults": [{"kind": "code", "code": "UnauthorizedOperation.ServiceSuspendDueToArrears"}]}
    with Fleet(tmp_path, TENCENT, plan=refusing, settings=LONG) as fleet:
        workers = fleet.start_workers(2)
        fleet.enqueue(1)
        for worker in workers:
            until(partial(worker.lines, "account refused"))
        fleet.enqueue(300)
        for number in range(3):
            before = fleet.arrivals()
            probe_now(fleet, "tencent")
            until(lambda: fleet.arrivals() > before)  # noqa: B023 - called in this round
            until(lambda: fleet.books()["tencent"].held == 0)
            assert fleet.arrivals() == before + 1, number
        ids = [row["message_id"] for row in fleet.simulator.ledger()]
        assert len(set(ids)) == len(ids), "the same event was the probe again"
        fleet.simulator.change_plan(faults=[])
        probe_now(fleet, "tencent")
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 301
        assert not fleet.dead_letters()
        for worker in workers:
            until(partial(worker.lines, "account running"))


@pytest.mark.parametrize("offset", [-2000.0, 2000.0])
def test_clock_skew(tmp_path: Path, offset: float) -> None:
    """A provider whose clock is half an hour off is believed: its Date header corrects ours, and all is delivered."""
    with Fleet(tmp_path, TENCENT, ALIBABA, plan={"clock_offset_s": offset}, settings=LONG) as fleet:
        worker = fleet.start_worker()
        for account in fleet.accounts:
            fleet.enqueue(100, account)
        fleet.wait_until_settled()
        audit = fleet.audit()
        assert sum(books.delivered for books in audit.books.values()) == 200
        assert not audit.lost
        assert not audit.twice
        skewed = worker.metric("otpreport_attempts_total", result="clock")
        assert 0 < skewed == audit.forged
        fleet.enqueue(50)
        fleet.wait_until_settled()
        assert worker.metric("otpreport_attempts_total", result="clock") == skewed, "it was not remembered"


def test_slow_account_beside_another(tmp_path: Path) -> None:
    """An account whose provider hangs does not keep another from being served."""
    hanging = {"faults": [{"kind": "hang", "provider": "tencent"}]}
    with Fleet(tmp_path, TENCENT, ALIBABA, plan=hanging, settings={**SHORT, "concurrency": 50}) as fleet:
        fleet.start_worker()
        fleet.enqueue(500)
        fleet.wait_until_arrived(20)
        fleet.enqueue(300, "alibaba")
        until(lambda: fleet.books()["alibaba"].settled)
        books = fleet.books()
        assert books["alibaba"].delivered == 300
        assert books["tencent"].delivered == 0
        assert books["tencent"].ready > 0
