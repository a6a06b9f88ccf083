"""A real Prometheus scrapes a run: what it then answers is what the provider's own ledger says."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import ALIBABA, LONG, TENCENT, Fleet
from tests.support.prometheus import BINARY, Prometheus, Vector
from tests.support.wait import until
from tests.support.worker_process import EXPORTER

FAULTS = [
    {"kind": "code", "provider": "tencent", "message_id": "wrong-*", "code": "InvalidParameterValue"},
    {"kind": "unavailable", "message_id": "again-*", "arrivals": 1},
]


def equals(ask: Callable[[], Vector], expected: Mapping[Any, float]) -> None:
    """Wait until a scrape has brought these values; show the last ones when none does."""
    seen: Vector = {}

    def same() -> bool:
        seen.clear()
        seen.update(ask())
        return seen == expected

    try:
        until(same, deadline=20, pause=0.2)
    except AssertionError:
        assert seen == expected


def test_scraped(tmp_path: Path) -> None:
    """Two workers and the exporter, scraped each second, add up to the ledger and the books."""
    if not shutil.which(BINARY):
        pytest.skip("needs Prometheus: apt-get install prometheus")
    with Fleet(tmp_path, TENCENT, ALIBABA, plan={"faults": FAULTS}, settings=LONG) as fleet:
        workers = fleet.start_workers(2)
        exporter = fleet.start_worker(EXPORTER)
        jobs = {"worker": [worker.port for worker in workers], "exporter": [exporter.port]}
        with Prometheus(tmp_path / "prometheus", jobs) as prometheus:
            equals(lambda: prometheus.query("sum(up)"), {(): 3.0})
            fleet.enqueue(600)
            copies = fleet.enqueue(300, "alibaba", verified=False)
            fleet.enqueue(25, prefix="wrong-")
            fleet.enqueue(40, "alibaba", prefix="again-")
            fleet.enqueue(15, verified=False)
            fleet.wait_until_settled()
            fleet.push(copies[:20])
            fleet.push_raw(b"no JSON")
            fleet.wait_until_settled()
            fleet.check()
            workers_agree(fleet, prometheus)
            exporter_agrees(fleet, prometheus)


def workers_agree(fleet: Fleet, prometheus: Prometheus) -> None:
    """Hold what the workers count against what the provider wrote down."""
    rows = fleet.simulator.ledger()
    taken = Counter(row["provider"] for row in rows if row["taken"])
    arrivals = Counter(row["provider"] for row in rows)
    assert (taken["tencent"], taken["alibaba"], arrivals["alibaba"]) == (600, 340, 380)
    ends = "sum by (account, outcome) (otpreport_events_total) > 0"
    expected = {
        ("tencent", "delivered"): float(taken["tencent"]),
        ("tencent", "skipped"): 15.0,
        ("tencent", "dead"): 26.0,
        ("alibaba", "delivered"): float(taken["alibaba"]),
        ("alibaba", "duplicate"): 20.0,
    }
    equals(lambda: prometheus.query(ends, "account", "outcome"), expected)
    attempts = "sum by (provider) (otpreport_attempts_total)"
    equals(
        lambda: prometheus.query(attempts, "provider"),
        {(provider,): float(count) for provider, count in arrivals.items()},
    )
    ages = "sum by (account) (otpreport_event_age_seconds_count)"
    equals(
        lambda: prometheus.query(ages, "account"),
        {(provider,): float(count) for provider, count in taken.items()},
    )


def exporter_agrees(fleet: Fleet, prometheus: Prometheus) -> None:
    """Hold what the exporter reads out of Redis against the books."""
    dead = "otpreport_dead_events > 0"
    expected = {("tencent", "permanent"): 25.0, ("tencent", "invalid"): 1.0}
    equals(lambda: prometheus.query(dead, "account", "reason"), expected)
    equals(lambda: prometheus.query("sum(otpreport_queue_events)"), {(): 0.0})
    equals(lambda: prometheus.query("otpreport_books_gap_events"), {(): 0.0})
    rates = 'otpreport_rate_limit_per_second{kind="configured"}'
    configured = {(account.name,): float(account.rate) for account in fleet.accounts.values()}
    equals(lambda: prometheus.query(rates, "account"), configured)
    states = 'otpreport_account_state{state="running"}'
    equals(lambda: prometheus.query(states, "account"), {(name,): 1.0 for name in fleet.accounts})
