"""`MAX_IN_FLIGHT` with real workers: the simulator counts how many requests are open at a time."""

from dataclasses import replace
from pathlib import Path

from tests.support.admin import admin
from tests.support.fleet import LONG, TENCENT, Fleet
from tests.support.simulator import Json
from tests.support.wait import until

LIMIT = 3
LIMITED = replace(TENCENT, settings={"max_in_flight": LIMIT})
BUSY = {"latency": {"base_ms": 100}}
SETTINGS = {**LONG, "connect_timeout": 0.5, "read_timeout": 1.0, "lease": 4.0}
HOLD = 0.5 + 1.0 + 1.0
"""Seconds for which the permits of a worker that is gone are kept."""


def in_flight(fleet: Fleet) -> Json:
    """Return what the simulator counted."""
    counted: Json = fleet.simulator.key("tencent")["in_flight"]
    return counted


def test_never_more_at_the_door(tmp_path: Path) -> None:
    """Two workers, one killed and one frozen until others have its permits: never more open than the limit."""
    with Fleet(tmp_path, LIMITED, plan=BUSY, settings=SETTINGS) as fleet:

        def delivered_more(number: int) -> None:
            """Keep the workers at the limit until so many more are delivered, however many they did meanwhile."""
            fleet.enqueue(number + 20)
            fleet.wait_until_delivered(fleet.delivered() + number)

        first, second = fleet.start_workers(2)
        delivered_more(10)
        first.kill9()
        fleet.start_worker()
        delivered_more(10)
        second.freeze()
        delivered_more(round(LIMIT / 0.1 * HOLD))
        second.thaw()
        fleet.wait_until_settled()
        fleet.check()
        assert in_flight(fleet)["max"] == LIMIT
        until(lambda: in_flight(fleet)["now"] == 0)


def test_without_the_setting_there_are_more(tmp_path: Path) -> None:
    """The control: the same workers with the setting off, and the judge sees it."""
    with Fleet(tmp_path, TENCENT, plan=BUSY, settings=SETTINGS) as fleet:
        fleet.start_workers(2)
        fleet.enqueue(50)
        fleet.wait_until_settled()
        assert in_flight(fleet)["max"] > LIMIT
        assert not admin(fleet.redis).keys("otpreport:permits:*")
