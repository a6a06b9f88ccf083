"""Two versions side by side on one Redis: what one leaves the other finishes."""

from pathlib import Path

import pytest

from tests.support.earlier import BEFORE, checkout
from tests.support.fleet import Account, Fleet
from tests.support.worker_process import ROOT

SLOW = Account("tencent", "tencent", 100)
PLAN = {
    "latency": {"base_ms": 50},
    "faults": [{"kind": "code", "code": "ResourceInsufficient", "share": 0.2}],
}


@pytest.mark.parametrize("first", ["this version", "the version before"])
def test_what_one_version_leaves_another_finishes(tmp_path: Path, first: str) -> None:
    """What a killed worker of either version held, and what waits for its retry, one of the other reports."""
    old = checkout(tmp_path / BEFORE)
    roots = (ROOT, old) if first == "this version" else (old, ROOT)
    with Fleet(tmp_path, SLOW, plan=PLAN) as fleet:
        one, other = [fleet.launch(root=root) for root in roots]
        one.wait_until_started()
        fleet.enqueue(200)
        fleet.wait_until_delivered(50)
        other.wait_until_started()
        one.kill9()
        fleet.wait_until_settled()
        fleet.check()
        assert other.metric("otpreport_events_total", outcome="delivered") > 0
