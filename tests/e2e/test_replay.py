"""A replay below live traffic: what was verified just now is reported as soon as without it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest

from otpreport import Verification
from tasks.keys import Keys
from tests.support.admin import admin
from tests.support.command import ROOT
from tests.support.dead import bury_many, schedule_all
from tests.support.fleet import LONG, Account, Fleet
from tests.support.wait import until

WAITING = Keys().replays("tencent")
MANY = 100_000


@dataclass(frozen=True, slots=True)
class Ages:
    """How long live events took from verified to the provider, in seconds.

    Judged by the middle one: a machine that stands still for a moment makes many late, whatever else goes on.
    """

    count: int
    middle: float
    most: float
    """All but one in twenty took less."""

    @classmethod
    def of(cls, fleet: Fleet, events: list[Verification]) -> "Ages":
        """Return those of these events, by the provider's ledger."""
        since = {event.message_id: event.occurred_at.timestamp() for event in events}
        rows = fleet.simulator.ledger()
        ages = sorted(row["unix"] - since[row["message_id"]] for row in rows if row["message_id"] in since)
        return cls(len(ages), ages[len(ages) // 2], ages[len(ages) * 95 // 100])


def live(fleet: Fleet, rate: int, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> Ages:
    """Return the ages of the live events of so many seconds, with something going on meanwhile."""
    first = len(fleet.sent)
    meanwhile()
    with fleet.producing(rate):
        time.sleep(seconds)
    events = fleet.sent[first:]
    until(lambda: admin(fleet.redis).llen("otpreport.tencent") == 0, deadline=120)
    time.sleep(0.2)
    ages = Ages.of(fleet, events)
    print(ages)
    return ages


def bury(fleet: Fleet, count: int) -> None:
    """Let so many events have died, two days after their code was entered."""
    then = datetime.now(UTC) - timedelta(days=2)
    start = len(fleet.sent)
    numbers = range(start, start + count)
    events = [Verification(account="tencent", message_id=f"dead-{n}", occurred_at=then) for n in numbers]
    bury_many(fleet.redis, events)
    fleet.sent += events


def replay(fleet: Fleet, share: float) -> subprocess.Popen[bytes]:
    """Start the operator's command."""
    command = [sys.executable, "-m", "worker", "dead", "replay", "--all", "--yes", "--share", str(share)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OTPREPORT_CONFIG": str(fleet.config)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def test_a_replay_leaves_live_events_as_they_were(tmp_path: Path) -> None:
    """Live events take five sixths of the rate: a replay at a share of one half takes what is left, no more.

    Negative control: the same letters due at once among the scheduled take half of everything, and live events wait.
    """
    with Fleet(tmp_path, Account("tencent", "tencent", 300), settings=LONG) as fleet:
        fleet.start_worker()
        before = live(fleet, 250, 2.0)
        bury(fleet, 300)
        assert replay(fleet, 0.5).wait(60) == 0
        beside = live(fleet, 250, 3.0)
        replayed = 300 - admin(fleet.redis).zcard(WAITING)
        wait_until_replayed(fleet)
        bury(fleet, 600)
        crowded = live(fleet, 250, 3.0, lambda: schedule_all(fleet.redis, "tencent"))
        fleet.wait_until_settled()
        fleet.check()
    assert replayed > 0
    harm, control = (ages.middle - before.middle for ages in (beside, crowded))
    assert harm < control / 3


def wait_until_replayed(fleet: Fleet, deadline: float = 60.0) -> None:
    """Wait until the workers have taken every letter that was asked for, and every event has ended."""
    until(lambda: admin(fleet.redis).zcard(WAITING) == 0, deadline=deadline)
    fleet.wait_until_settled(deadline=deadline)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_beside_live_traffic(tmp_path: Path) -> None:
    """The command is killed amid it and given again; all arrive once, and live events are no later for it.

    Live events take two thirds of the rate, with the replay and almost without it in turns: what else goes on on the
    machine is in both. Negative control: the letters due at once among the scheduled.
    """
    with Fleet(tmp_path, Account("tencent", "tencent", 600), settings=LONG) as fleet:
        fleet.start_workers(2)
        bury(fleet, MANY)
        command = replay(fleet, 0.5)
        until(lambda: admin(fleet.redis).zcard(WAITING) > 0)
        command.send_signal(signal.SIGKILL)
        command.wait()
        assert replay(fleet, 0.5).wait(120) == 0
        turns = [live_at(fleet, share, 10.0) for share in (0.5, 1e-6) * 3]
        live_at(fleet, 0.5, 0.1)
        wait_until_replayed(fleet, deadline=900)
        audit = fleet.check()
        assert not audit.twice
        bury(fleet, 6000)
        crowded = live(fleet, 400, 10.0, lambda: schedule_all(fleet.redis, "tencent"))
        fleet.wait_until_settled(deadline=120)
    beside, without = (median(ages.middle for ages in turns[first::2]) for first in (0, 1))
    assert beside - without < (crowded.middle - without) / 3


def live_at(fleet: Fleet, share: float, seconds: float) -> Ages:
    """Return the ages of live events while letters go at this share."""
    admin(fleet.redis).hset(Keys().replay("tencent"), "share", repr(share))
    return live(fleet, 400, seconds)
