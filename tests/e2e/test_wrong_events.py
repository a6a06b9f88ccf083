"""A producer sends events that the provider refuses for good, among those of others."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from tests.support.admin import admin
from tests.support.fleet import LONG, Account, Fleet
from tests.support.wait import until

WRONG = "wrong-"
SLOW = Account("tencent", "tencent", 200)
PLAN = {
    "latency": {"base_ms": 50},
    "faults": [{"kind": "code", "code": "InvalidParameterValue", "message_id": f"{WRONG}*"}],
}


def in_front(fleet: Fleet, wrong: int, good: int) -> AbstractContextManager[None]:
    """Put the wrong ones in front of the good ones."""
    fleet.enqueue(wrong, prefix=WRONG)
    fleet.enqueue(good)
    return nullcontext()


def among(fleet: Fleet, wrong: int, good: int) -> AbstractContextManager[None]:
    """Put some wrong ones between every two good ones."""
    for _ in range(good):
        fleet.enqueue(wrong // good, prefix=WRONG)
        fleet.enqueue(1)
    return nullcontext()


def arriving(fleet: Fleet, wrong: int, good: int) -> AbstractContextManager[None]:
    """Put the wrong ones in front, and let more come behind."""
    in_front(fleet, wrong, good)
    return fleet.producing(50, prefix=WRONG)


SHAPES: tuple[Callable[[Fleet, int, int], AbstractContextManager[None]], ...] = (in_front, among, arriving)


@pytest.mark.parametrize("shape", SHAPES)
def test_wrong_events_do_not_block_good_ones(
    tmp_path: Path, shape: Callable[[Fleet, int, int], AbstractContextManager[None]]
) -> None:
    """All good ones are delivered, all wrong ones are dead letters, and the account runs in the end."""
    with Fleet(tmp_path, SLOW, plan=PLAN, settings=LONG) as fleet:
        fleet.start_worker()
        with shape(fleet, 240, 60):
            fleet.wait_until_delivered(60)
        fleet.wait_until_settled()
        books = fleet.check().books["tencent"]
        assert (books.delivered, books.dead) == (60, len(fleet.sent) - 60)
        assert not admin(fleet.redis).hget("otpreport:account:tencent", "state")


def test_an_account_of_which_all_is_refused_keeps_its_events(tmp_path: Path) -> None:
    """It says so, with the provider's last words; what waits does not die at the account's rate."""
    plan = {"faults": [{"kind": "code", "code": "InvalidParameterValue"}]}
    with Fleet(tmp_path, SLOW, plan=plan, settings=LONG) as fleet:
        worker = fleet.start_worker()
        fleet.enqueue(500)
        until(lambda: worker.lines("account refused"))
        [line] = worker.lines("account refused")
        assert line["code"] == "permanent_run"
        assert line["message"].partition(" events ")[2] == (
            "in a row were refused, the last: InvalidParameterValue: planned by the simulator"
        )
        before = fleet.books()["tencent"].dead
        fleet.wait_until_arrived(before + 31)
        assert fleet.books()["tencent"].ready > 250
        fleet.simulator.change_plan(faults=[])
        fleet.wait_until_settled()
        books = fleet.check().books["tencent"]
        assert books.delivered == 500 - books.dead
        assert books.delivered > 250
