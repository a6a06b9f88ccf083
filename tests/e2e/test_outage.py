"""An outage costs nothing, a lowered limit is followed, and an operator degrades an account by hand."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.admin import admin
from tests.support.command import call_in
from tests.support.fleet import ALIBABA, LONG, TENCENT, Account, Fleet
from tests.support.wait import until

FEW_ATTEMPTS = {"max_attempts": 3}
SOON = {**LONG, "read_timeout": 1.0, "retry_base": 1.0}


def pass_time(seconds: float) -> None:
    """Let the workers work on: what they do meanwhile is the point."""
    threading.Event().wait(seconds)


def account_of(fleet: Fleet, name: str = "tencent") -> dict[str, str]:
    """Return what all workers know of an account."""
    stored: dict[bytes, bytes] = admin(fleet.redis).hgetall(f"otpreport:account:{name}")
    return {field.decode(): value.decode() for field, value in stored.items()}


def command(fleet: Fleet, *arguments: str) -> str:
    """Run a command as an operator does, and return what it printed."""
    ran = call_in({"OTPREPORT_CONFIG": str(fleet.config)}, *arguments)
    assert ran.status == 0, ran.err
    return ran.out


def is_open(fleet: Fleet) -> bool:
    """Tell whether the breaker is open."""
    return account_of(fleet).get("state") == "open"


def arrived(fleet: Fleet, provider: str = "tencent") -> int:
    """Return how many requests have reached a provider."""
    return int(fleet.simulator.key(provider)["arrivals"])


@pytest.mark.parametrize("kind", ["unavailable", pytest.param("hang", marks=pytest.mark.chaos)])
def test_outage(tmp_path: Path, kind: str) -> None:
    """The breaker opens for all workers and stays so over kills and starts; then the rate ramps up; none is dead."""
    down = {"faults": [{"kind": kind, "provider": "tencent"}]}
    with Fleet(tmp_path, replace(TENCENT, settings=FEW_ATTEMPTS), ALIBABA, plan=down, settings=SOON) as fleet:
        workers = fleet.start_workers(2)
        fleet.enqueue(300)
        until(lambda: is_open(fleet))
        until(lambda: fleet.books()["tencent"].held == 0)
        before = arrived(fleet)
        workers[0].kill9()
        workers[1].terminate()
        fleet.start_worker()
        fleet.enqueue(100, "alibaba")
        until(lambda: fleet.books()["alibaba"].settled)
        pass_time(6.0)
        assert is_open(fleet), "a worker that started closed it"
        assert 1 <= arrived(fleet) - before <= 3, "probes come one at a time, every five seconds"
        assert fleet.books()["tencent"].dead == 0

        fleet.simulator.change_plan(faults=[])
        admin(fleet.redis).hset("otpreport:account:tencent", "probe_at_ms", 0)
        until(lambda: not is_open(fleet))
        before = arrived(fleet)
        pass_time(2.0)
        assert 1 <= arrived(fleet) - before <= 60, "a hundredth of its rate at first"
        admin(fleet.redis).hincrby("otpreport:account:tencent", "resumed_ms", -15_000)
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["tencent"].delivered == 300
        assert not audit.twice


def test_outage_without_breaker(tmp_path: Path) -> None:
    """It is the breaker that saves the events: without it they use up their attempts and die."""
    down = {"faults": [{"kind": "unavailable"}]}
    few = replace(TENCENT, settings=FEW_ATTEMPTS)
    with Fleet(tmp_path, few, plan=down, settings={**SOON, "breaker_calls": 0}) as fleet:
        fleet.start_worker()
        fleet.enqueue(50)
        fleet.wait_until_settled()
        assert fleet.books()["tencent"].dead == 50


def test_lowered_limit(tmp_path: Path) -> None:
    """A limit that the provider lowers without a word is followed within seconds, and no attempt is used."""
    account = Account("tencent", "tencent", 500, {"max_attempts": 1})
    with Fleet(tmp_path, account, settings=LONG) as fleet:
        fleet.start_workers(2)
        fleet.enqueue(2500)
        fleet.wait_until_delivered(200)
        assert throttled_after_a_while(fleet, lowered=100, seconds=6.0) < 0.03
        fleet.simulator.change_plan(rates={})
        forget_throttling(fleet)
        fleet.wait_until_settled()
        audit = fleet.check()
        assert audit.books["tencent"].dead == 0
        assert not audit.twice


@pytest.mark.chaos
def test_lowered_and_raised_limit(tmp_path: Path) -> None:
    """From 1000 to 200 and back: followed within seconds, left behind within a minute."""
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        fleet.start_workers(2)
        with fleet.producing(800):
            fleet.wait_until_delivered(1000)
            assert throttled_after_a_while(fleet, lowered=200, seconds=15.0) < 0.03
            fleet.simulator.change_plan(rates={})
            until(lambda: rate_of_late(fleet) > 500, deadline=60)
        forget_throttling(fleet)
        fleet.wait_until_settled(120)
        assert not fleet.check().twice


def throttled_after_a_while(fleet: Fleet, *, lowered: int, seconds: float) -> float:
    """Lower the limit, wait until the workers have found out, and return the share of requests throttled after that."""
    fleet.simulator.change_plan(rates={fleet.accounts["tencent"].key: lowered})
    pass_time(8.0)
    settled = arrived(fleet)
    pass_time(seconds)
    rows = fleet.simulator.ledger()[settled:]
    refused = sum(not row["taken"] for row in rows)
    print(f"{len(rows)} arrivals in {seconds:.0f} s, {refused} throttled")
    assert len(rows) > 0.5 * seconds * lowered, "it went far slower than it might"
    return refused / len(rows)


def rate_of_late(fleet: Fleet) -> float:
    """Return how many requests arrived in the last two seconds, per second."""
    times = [float(row["t"]) for row in fleet.simulator.ledger()]
    return sum(at > times[-1] - 2.0 for at in times[-4000:]) / 2.0


def forget_throttling(fleet: Fleet) -> None:
    """Let the rate be what it would be in ten minutes."""
    for key in admin(fleet.redis).scan_iter("otpreport:rate:*"):
        admin(fleet.redis).hincrby(key, "lowered_us", -600_000_000)


def test_by_hand(tmp_path: Path) -> None:
    """An account that is held sends nothing until it is resumed; one that is degraded to `shed` drops and counts."""
    with Fleet(tmp_path, Account("tencent", "tencent", 200), ALIBABA, settings=LONG) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(400)
        fleet.wait_until_arrived(50)
        command(fleet, "accounts", "pause", "tencent", "--reason", "a bill")
        pass_time(1.0)
        before = arrived(fleet)
        pass_time(1.0)
        assert arrived(fleet) == before, "a held account was sent for"
        fleet.enqueue(50, "alibaba")
        until(lambda: fleet.books()["alibaba"].settled)
        assert until(lambda: worker.lines("account paused"))[0]["message"] == "a bill"

        fleet.simulator.change_plan(faults=[{"kind": "unavailable"}])
        command(fleet, "accounts", "pause", "tencent", "--mode", "shed", "--yes", "--reason", "a bill")
        until(lambda: fleet.books()["tencent"].settled)
        shed = fleet.books()["tencent"]
        assert arrived(fleet) == before
        fleet.simulator.change_plan(faults=[])
        command(fleet, "accounts", "resume", "tencent", "--by", "alice")
        fleet.enqueue(40)
        until(lambda: fleet.delivered() == 50 + shed.delivered + 40)
        listed = json.loads(command(fleet, "audit", "--json"))["audit"]
        assert [entry["action"] for entry in listed] == ["resume", "pause", "pause"]
        assert listed[0]["by"] == "alice"
        assert not list(fleet.books()["tencent"].faults())


def test_rate_by_hand(tmp_path: Path) -> None:
    """A rate set by hand is in force at once, on all workers, and survives them."""
    with Fleet(tmp_path, Account("tencent", "tencent", 400), settings=LONG) as fleet:
        fleet.start_workers(2)
        command(fleet, "accounts", "rate", "tencent", "20")
        fleet.enqueue(100)
        fleet.wait_until_arrived(5)
        began, before = time.monotonic(), arrived(fleet)
        pass_time(2.0)
        assert (arrived(fleet) - before) / (time.monotonic() - began) <= 20 * 1.2
        command(fleet, "accounts", "rate", "tencent", "default")
        fleet.wait_until_settled()
        fleet.check()
