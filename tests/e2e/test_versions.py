"""Two versions side by side on one Redis: what one leaves the other finishes."""

from pathlib import Path

import pytest

from tests.support.earlier import BEFORE, checkout
from tests.support.fleet import Account, Fleet
from tests.support.tracked import NAME, app_of, judge, pass_time
from tests.support.tracking_worker import rules
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


def test_otps_beside_the_version_before(tmp_path: Path) -> None:
    """It reports whatever is in the queue, as it always did: each OTP counts once, and is reported once."""
    old = checkout(tmp_path / BEFORE)
    faults = [{"kind": "code", "code": "ServiceUnavailable", "share": 0.2}]
    # a setting that the version before would refuse
    reported = {f"OTPREPORT_ACCOUNTS__{NAME.upper()}__UNVERIFIED": "report"}
    with (
        Fleet(tmp_path, Account(NAME, NAME, 300), plan={"faults": faults}) as fleet,
        app_of(fleet, tmp_path) as app,
    ):
        workers = [fleet.launch(root=old), fleet.launch(rules("quick"), environment=reported)]
        for worker in workers:
            worker.wait_until_started()
        with app.busy(100):
            pass_time(3.0)
            workers[0].kill9()
            workers.append(fleet.launch(root=old).wait_until_started())
            pass_time(2.0)
        judge(fleet, app)
        assert not all(row["taken"] for row in fleet.simulator.ledger()), "none had to be tried again"
        assert workers[-1].metric("otpreport_events_total", outcome="delivered") > 0
