"""Wrong events by the thousand among good ones, and what the version before made of them."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.test_chaos_kill import pass_time
from tests.e2e.test_wrong_events import PLAN, SHAPES, in_front
from tests.support.admin import admin
from tests.support.chaos import Trial
from tests.support.earlier import BEFORE, checkout
from tests.support.fleet import LONG, Account, Fleet
from tests.support.wait import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

ACCOUNT = Account("tencent", "tencent", 500)
WRONG, GOOD = 3000, 1000
PROMISE = 60.0
"""Seconds within which all good events are delivered."""


@pytest.mark.parametrize("shape", SHAPES)
def test_wrong_events(
    tmp_path: Path, shape: Callable[[Fleet, int, int], AbstractContextManager[None]]
) -> None:
    """All good ones are delivered within a minute, and each wrong one is a dead letter."""
    with Fleet(tmp_path, ACCOUNT, plan=PLAN, settings=LONG) as fleet:
        trial = Trial(
            fleet, f"{WRONG} wrong events, {shape.__name__.replace('_', ' ')}, with {GOOD} good ones"
        )
        trial.watch(fleet.start_workers(2))
        began = time.monotonic()
        with shape(fleet, WRONG, GOOD):
            fleet.wait_until_delivered(GOOD, 2 * PROMISE)
            trial.seconds.append(time.monotonic() - began)
        fleet.wait_until_settled(120)
        trial.times = len(fleet.sent) - GOOD
        trial.end(dead=trial.times)
        assert max(trial.seconds) < PROMISE


def test_the_version_before_waits(tmp_path: Path) -> None:
    """With one probe of the oldest every half minute no good event is delivered in that minute."""
    with Fleet(tmp_path, ACCOUNT, plan=PLAN, settings=LONG) as fleet:
        fleet.launch(root=checkout(tmp_path / BEFORE)).wait_until_started()
        in_front(fleet, WRONG, GOOD)
        until(lambda: admin(fleet.redis).hget("otpreport:account:tencent", "state") == b"stopped")
        pass_time(PROMISE)
        assert fleet.books()["tencent"].delivered == 0
