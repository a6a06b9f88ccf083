"""`find` while real workers move the events: leased, tried again, dead, delivered."""

from pathlib import Path

from tests.support.fleet import Account, Fleet
from tests.support.looking import find_moving
from tests.support.wait import until

PLAN = {
    "latency": {"base_ms": 10, "jitter_ms": 40},
    "faults": [{"kind": "unavailable", "message_id": "*3", "arrivals": 1}],
}
"""One event in ten is tried twice."""


def test_events_that_workers_move_are_never_unknown(tmp_path: Path) -> None:
    """Each event of the last moment is found, wherever its worker has brought it meanwhile."""
    with Fleet(tmp_path, Account("tencent", "tencent", 300), plan=PLAN) as fleet:
        fleet.start_worker()
        with fleet.producing(250):
            until(lambda: fleet.delivered() > 20)
            found = find_moving(fleet, 200)
        assert found["unknown"] == 0
        assert len(found) > 1
