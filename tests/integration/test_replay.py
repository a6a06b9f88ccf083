"""Dead letters that are to be sent again, as the lease call sees them: last, paced, and only into spare slots."""

import time

import pytest
import redis

from tasks.dead_letters.filter import Filter
from tasks.dead_letters.store import DeadLetters, ReplayPace
from tasks.delivery import Leased
from tasks.keys import Keys
from tasks.retry import Reason
from tasks.settlement import Bury, Schedule
from tests.support.dead import Undertaker
from tests.support.queues import Fleet, delivered
from worker.engine import CALM

EVERY = Filter()
GROUP = "g"
AT_ONCE = ReplayPace(1.0, GROUP, 1e9)
"""So fast that a lease gets all it asks for."""


@pytest.fixture
def letters(valkey: redis.Redis) -> DeadLetters:
    """Return the dead letters of the same server."""
    return DeadLetters(valkey, Keys())


def replay(letters: DeadLetters, pace: ReplayPace = AT_ONCE) -> int:
    """Ask for all letters of the account again."""
    return sum(letters.replay(letters.letters(EVERY), {"tencent": pace}))


def waiting(letters: DeadLetters) -> int:
    """Return how many letters wait to be sent again."""
    return sum(one.waiting for one in letters.replays())


def test_live_events_go_first(letters: DeadLetters, undertaker: Undertaker) -> None:
    """A lease is filled with live events; what they leave over goes to the replay, oldest death first."""
    buried = undertaker.bury("tencent", 6)
    undertaker.send("tencent", 5)
    replay(letters)
    tags = [one.tag for one in undertaker.lease("tencent", 4)]
    assert not set(tags) & set(buried)
    tags = [one.tag for one in undertaker.lease("tencent", 4)]
    assert set(tags[1:]) <= set(buried)
    assert waiting(letters) == 3


def test_among_the_scheduled_they_would_crowd_live_events(
    valkey: redis.Redis, letters: DeadLetters, undertaker: Undertaker
) -> None:
    """Negative control: due at once among the scheduled, they take half of each lease."""
    buried = undertaker.bury("tencent", 6)
    undertaker.send("tencent", 5)
    replay(letters)
    leased = undertaker.lease("tencent", 11)[5:]
    assert {one.tag for one in leased} == set(buried)
    for one in leased:
        undertaker.settle([(one, Schedule(0.0))])
    undertaker.send("tencent", 5)
    tags = [one.tag for one in undertaker.lease("tencent", 4)]
    assert len(set(tags) & set(buried)) == 2


def test_no_faster_than_the_share(valkey: redis.Redis, letters: DeadLetters, undertaker: Undertaker) -> None:
    """A fifth of 1000/s, a burst of 0.06 s at most, however often and however much the workers ask."""
    undertaker.bury("tencent", 400)
    replay(letters, ReplayPace(0.2, GROUP, 1000))
    began, taken = time.monotonic(), 0
    while time.monotonic() < began + 0.5:
        taken += len(undertaker.lease("tencent", 400))
    most = 0.2 * 1000 * (time.monotonic() - began + 0.06) + 1
    assert 10 < taken <= most


def test_a_calm_worker_forgoes_nothing(fleet: Fleet, letters: DeadLetters, undertaker: Undertaker) -> None:
    """Whoever asks again only after a calm round gets every slot that there was meanwhile."""
    undertaker.bury("tencent", 50)
    replay(letters, ReplayPace(0.2, GROUP, 1000))
    fleet.server.hset(Keys().replay("tencent"), "next_us", fleet.now_us() - round(CALM * 1e6))
    assert len(undertaker.lease("tencent", 50)) > 200 * CALM


def test_the_share_is_of_the_effective_rate(
    valkey: redis.Redis, letters: DeadLetters, undertaker: Undertaker
) -> None:
    """Where the rate was set to 10/s by hand, a lease takes a single letter, not the 13 of the burst."""
    undertaker.bury("tencent", 50)
    replay(letters, ReplayPace(0.2, GROUP, 1000))
    assert len(undertaker.lease("tencent", 50)) == 13
    valkey.hset(Keys().rate(GROUP), "override", 10)
    valkey.hdel(Keys().replay("tencent"), "next_us")
    assert len(undertaker.lease("tencent", 50)) == 1


@pytest.mark.parametrize(
    ("ahead", "field", "taken"),
    [
        (10.0, "next_us", 0),
        (10.0, "pause_us", 0),
        (0.0, "next_us", 9),
        (3600.0, "next_us", 9),
        (3600.0, "pause_us", 9),
    ],
)
def test_only_slots_that_nobody_wants(
    fleet: Fleet, letters: DeadLetters, undertaker: Undertaker, ahead: float, field: str, taken: int
) -> None:
    """While the rate group's next free slot lies ahead, or its provider asked for a pause, no letter goes.

    One an hour ahead is of no such slot: it was put down before Redis' clock was set back.
    """
    undertaker.bury("tencent", 9)
    replay(letters)
    fleet.server.hset(Keys().rate(GROUP), field, round(fleet.now_us() + ahead * 1e6))
    assert len(undertaker.lease("tencent", 9)) == taken


@pytest.mark.parametrize(
    ("state", "taken"), [("running", 5), ("held", 0), ("shed", 0), ("stopped", 1), ("open", 1)]
)
def test_an_account_that_does_not_run_keeps_them(
    fleet: Fleet, letters: DeadLetters, undertaker: Undertaker, state: str, taken: int
) -> None:
    """They wait, and none is shed; where nothing else is there, one of them is the probe."""
    undertaker.bury("tencent", 5)
    fleet.set_state(state)
    assert replay(letters) == 5
    leased = undertaker.lease("tencent", 5)
    assert len(leased) == taken
    assert all(one.probe == (state != "running") for one in leased)
    assert waiting(letters) == 5 - taken
    assert fleet.places().balanced


def test_what_died_again_is_not_sent_by_an_old_wish(
    valkey: redis.Redis, letters: DeadLetters, undertaker: Undertaker
) -> None:
    """The wish was for the letter of the first death; the second one stays dead until somebody asks again."""
    [id_] = undertaker.bury("tencent")
    replay(letters)
    valkey.zincrby(Keys().dead_index("tencent"), 1, id_)
    found = letters.find(id_)
    assert found is not None
    assert not found.waits
    assert undertaker.lease("tencent", 1) == []
    assert letters.find(id_) is not None
    assert waiting(letters) == 0


def test_a_replay_can_be_taken_back(fleet: Fleet, letters: DeadLetters, undertaker: Undertaker) -> None:
    """What no worker has taken yet is a dead letter as before, with its story; the rest is on its way."""
    undertaker.bury("tencent", 5)
    before = {letter.id: letter for letter in letters.letters(EVERY)}
    replay(letters)
    gone = {one.tag for one in undertaker.lease("tencent", 2)}
    assert sum(letters.recall(letters.letters(EVERY))) == 3
    after = {letter.id: letter for letter in letters.letters(EVERY)}
    assert after == {id_: letter for id_, letter in before.items() if id_ not in gone}
    assert undertaker.lease("tencent", 5) == []
    assert fleet.places().balanced


def test_a_purged_letter_is_not_sent_again(
    fleet: Fleet, letters: DeadLetters, undertaker: Undertaker
) -> None:
    """Purging ends its wait, too."""
    undertaker.bury("tencent", 3)
    replay(letters)
    assert sum(letters.purge(letters.letters(EVERY))) == 3
    assert undertaker.lease("tencent", 3) == []
    assert waiting(letters) == 0
    assert fleet.places().balanced


def test_a_replayed_event_that_waits_again_is_as_old_as_its_replay(
    fleet: Fleet, letters: DeadLetters, undertaker: Undertaker
) -> None:
    """It needs another attempt: what watches the oldest event is not told of days."""
    [id_] = undertaker.bury("tencent")
    began_ms = letters.now_ms()
    replay(letters)
    [leased] = undertaker.lease("tencent")
    undertaker.settle([(delivered(leased), Schedule(60.0))])
    assert fleet.server.zscore(Keys().aged("tencent"), id_) >= began_ms


def test_old_replays_expire_no_event_of_a_paused_account(
    fleet: Fleet, letters: DeadLetters, undertaker: Undertaker
) -> None:
    """Age counts from when a worker takes it, not from when the operator asked for it."""
    undertaker.bury("tencent")
    replay(letters)
    asked_ms = letters.now_ms()
    time.sleep(0.01)
    [leased] = undertaker.lease("tencent")
    assert leased.history.replayed_ms is not None
    assert leased.history.replayed_ms > asked_ms


def test_letters_refused_again_do_not_stop_the_account(
    fleet: Fleet, letters: DeadLetters, undertaker: Undertaker
) -> None:
    """A replay of what the provider refuses for good is a mistake, but no reason to hold live events back."""
    undertaker.bury("tencent", 60)
    replay(letters)
    bury(undertaker, undertaker.lease("tencent", 60))
    assert fleet.state().get("state", "running") == "running"
    undertaker.send("tencent", 60)
    bury(undertaker, undertaker.lease("tencent", 60))
    assert fleet.state()["state"] == "stopped"  # negative control: live events refused in a row do stop it


def bury(undertaker: Undertaker, leased: list[Leased]) -> None:
    """Let the provider have refused these for good."""
    undertaker.settle([(one, Bury(Reason.PERMANENT, b"{}\n")) for one in leased])
