"""Reports of OTPs that were not verified come after all others, and say nothing of their account."""

from typing import Any

import orjson
import pytest

from tasks.accounts.states import States
from tasks.dead_letters.filter import Filter
from tasks.dead_letters.store import DeadLetters, ReplayPace
from tasks.delivery import Delivery, LeasePurpose
from tasks.fleet.snapshot import SnapshotReader
from tasks.limiter.admission import RateGroup, Refusal
from tasks.retry import Reason
from tasks.settlement import Bury, Ending, Finish, Schedule
from tests.integration.test_admission import GROUP, opened
from tests.support.dead import Death, burial
from tests.support.events import NOON
from tests.support.leased import event
from tests.support.otps import ACCOUNT, Tracking
from tests.support.queues import Fleet

DONE = Finish(Ending.DELIVERED)
REFUSED = Bury(Reason.PERMANENT, orjson.dumps({"reason": "permanent", "code": "Wrong"}) + b"\nraw")


@pytest.fixture
def tracking(fleet: Fleet) -> Tracking:
    """Return one who tracks on the same server."""
    return watching(fleet)


def watching(fleet: Fleet) -> Tracking:
    """Return one who has looked on for long enough that OTPs may close."""
    tracking = Tracking(fleet.server)
    tracking.sent("first", country="AD", expires_in=5110)
    tracking.track()
    tracking.watch(70)
    return tracking


def close(tracking: Tracking, number: int, name: str = "n") -> None:
    """Let so many OTPs close without being verified, each with a report."""
    for i in range(number):
        tracking.sent(f"{name}{i}")
    while tracking.track()[2]:
        pass
    tracking.watch(124, room=10**6)
    while tracking.track(room=10**6)[1]:
        pass


def live(fleet: Fleet, number: int, *, step: int = 0, account: str = ACCOUNT) -> None:
    """Let so many OTPs be verified."""
    fleet.send(*(event(f"live-{fleet.sent + n}", account) for n in range(number)), step=step)


def named(deliveries: list[Delivery]) -> list[str]:
    """Return what each is: a live event, or a report that was made."""
    assert all(one.leased.automatic is not one.event.verified for one in deliveries)
    return ["live" if one.event.verified else "automatic" for one in deliveries]


async def test_they_come_after_all_others(fleet: Fleet, tracking: Tracking) -> None:
    """Events of every priority, and those that wait for another try, go before them and before their own retries."""
    close(tracking, 4)
    first = await fleet.take(2, account=ACCOUNT)
    assert named(first) == ["automatic"] * 2
    for one in first:
        await fleet.settle(one, Schedule(0.0, one.leased.record(one.leased.history)))
    live(fleet, 12)
    for retried in await fleet.take(12, account=ACCOUNT):
        assert retried.event.verified
        await fleet.settle(retried, Schedule(0.0, retried.leased.record(retried.leased.history)))
    for step in (0, 1, 2):
        live(fleet, 1, step=step)
    order: list[str] = []
    for _ in range(19):
        order += named(await fleet.take(1, account=ACCOUNT))
    assert order == ["live"] * 15 + ["automatic"] * 4
    assert fleet.places(ACCOUNT).balanced


async def test_an_account_of_the_same_group_goes_before_them(fleet: Fleet, tracking: Tracking) -> None:
    """A slot that anybody else of the rate group wants is not theirs, whichever account is asked first."""
    close(tracking, 4)
    live(fleet, 4, account="other")
    wants, groups = {ACCOUNT: 4, "other": 4}, {ACCOUNT: "group", "other": "group"}
    batch = await fleet.queue().lease(wants, groups=groups)
    assert [leased.account for leased in batch.leased] == ["other"] * 4
    batch = await fleet.queue().lease(wants, groups=groups)
    assert [leased.account for leased in batch.leased] == [ACCOUNT] * 4


async def test_a_retry_is_not_sooner_than_its_time(fleet: Fleet, tracking: Tracking) -> None:
    """Behind all others does not mean at once; and it is found by who looks for it."""
    close(tracking, 1)
    [one] = await fleet.take(1, account=ACCOUNT)
    await fleet.settle(one, Schedule(60.0))
    assert not await fleet.take(1, account=ACCOUNT)
    assert fleet.places(ACCOUNT).scheduled == 1
    assert not fleet.server.zcard(fleet.keys.aged(ACCOUNT))
    fleet.set_state("shed", ACCOUNT)
    [shed] = await fleet.take(1, account=ACCOUNT)
    assert shed.leased.purpose is LeasePurpose.SHED
    await fleet.settle(shed, Finish(Ending.SHED))
    assert fleet.places(ACCOUNT).balanced


@pytest.mark.parametrize("retried", [0, 1, 3, 4, 9])
async def test_what_waits_for_another_try_is_bounded_with_the_others(
    fleet: Fleet, tracking: Tracking, retried: int
) -> None:
    """Where the provider answers none of them, no more wait than may; live events in the schedule don't count."""
    live(fleet, 5)
    for one in await fleet.take(5, account=ACCOUNT):
        await fleet.settle(one, Schedule(60.0))
    close(tracking, 9)
    for one in await fleet.take(retried, account=ACCOUNT):
        await fleet.settle(one, Schedule(60.0))
    for number in range(5):
        tracking.sent(f"m{number}")
    tracking.track()
    tracking.watch(130, room=9 - retried + 4)
    assert tracking.otps.withheld == min(5, retried + 1)
    assert (tracking.otps.enqueued, tracking.gaps) == (14 - tracking.otps.withheld, (0, 0))


async def test_they_have_no_age(fleet: Fleet, tracking: Tracking) -> None:
    """Nobody waits for them: neither in the list nor for another try do they make the account look late."""
    close(tracking, 2)
    reader = SnapshotReader(fleet.server, fleet.keys, {ACCOUNT: "group"})
    [one] = await fleet.take(1, account=ACCOUNT)
    await fleet.settle(one, Schedule(60.0))
    [seen] = reader.read().accounts
    assert (seen.ready, seen.scheduled, seen.oldest_age) == (1, 1, 0.0)
    fleet.send(event("old", ACCOUNT).model_copy(update={"occurred_at": NOON}))
    [seen] = reader.read().accounts
    assert seen.oldest_age > 0


async def test_they_stop_no_account(fleet: Fleet, tracking: Tracking) -> None:
    """A hundred refused in a row say nothing of the account, nor does one that is taken."""
    live(fleet, 10)
    for delivery in await fleet.take(10, account=ACCOUNT):
        await fleet.settle(delivery, REFUSED)
    close(tracking, 101)
    refused = await fleet.take(101, account=ACCOUNT)
    for delivery in refused[1:]:
        await fleet.settle(delivery, REFUSED)
    await fleet.settle(refused[0], DONE)
    state = await States(fleet.client, fleet.keys, {ACCOUNT: RateGroup("group", 500)}).read()
    assert state[ACCOUNT].name == "running"
    assert fleet.state(ACCOUNT)["permanent_run"] == "10"


async def test_one_that_fails_for_good_is_counted(fleet: Fleet, tracking: Tracking) -> None:
    """Each `no` is queued or refused, at every moment."""
    close(tracking, 5)
    for number, delivery in enumerate(await fleet.take(3, account=ACCOUNT)):
        await fleet.settle(delivery, REFUSED)
        assert (tracking.otps.queued, tracking.otps.refused, tracking.gaps) == (
            4 - number,
            number + 1,
            (0, 0),
        )
    assert fleet.places(ACCOUNT).dead == 3
    assert fleet.places(ACCOUNT).balanced


async def test_a_poisonous_one_is_counted(short_lived: Fleet) -> None:
    """What no worker may lease any more is buried by a script, which counts it, too."""
    fleet, tracking = short_lived, watching(short_lived)
    close(tracking, 1)
    [one] = await fleet.take(1, account=ACCOUNT)
    record = fleet.server.hget(fleet.keys.taken(ACCOUNT), one.tag)
    fleet.server.hset(fleet.keys.taken(ACCOUNT), one.tag, b"3 3 " + record.split(b" ", 2)[2])
    fleet.server.srem(fleet.keys.held("w1"), one.tag)
    fleet.server.zadd(fleet.keys.suspects(ACCOUNT), {one.tag: 1})
    await fleet.queue().lease({ACCOUNT: 1}, solo=True)
    assert (fleet.places(ACCOUNT).dead, tracking.otps.refused, tracking.gaps) == (1, 1, (0, 0))


async def test_only_so_many_letters_are_kept(fleet: Fleet, tracking: Tracking) -> None:
    """The newest thousand of an account; those of its live events stay, and what was removed is booked."""
    live(fleet, 2)
    for delivery in await fleet.take(2, account=ACCOUNT):
        await fleet.settle(delivery, REFUSED)
    close(tracking, 1003)
    queue = fleet.queue()
    while taken := await fleet.take(200, account=ACCOUNT):
        await queue.settle([(delivery, REFUSED) for delivery in taken], queue.next_call())
    assert tracking.otps.refused == 1003
    places = fleet.places(ACCOUNT)
    assert (places.dead, places.balanced) == (1002, True)
    assert fleet.books(ACCOUNT)["purged"] == 3
    assert fleet.server.hget(fleet.keys.dead_reasons, f"{ACCOUNT}:permanent") == b"1002"
    assert fleet.server.zcard(fleet.keys.dead_index(ACCOUNT)) == 1002
    assert tracking.gaps == (0, 0)


async def test_a_letter_that_is_refused_again_is_one(fleet: Fleet, tracking: Tracking) -> None:
    """Replayed twice in vain, 400 are 400 of the thousand that may be kept, and of the count."""
    letters, queue = DeadLetters(fleet.server, fleet.keys), fleet.queue()
    close(tracking, 400)
    for _ in range(3):
        while leased := (await queue.lease({ACCOUNT: 200})).leased:
            held = [(one, burial(one, Death(Reason.PERMANENT))) for one in leased]
            assert all(await queue.settle(held, queue.next_call()))
        sum(letters.replay(letters.letters(Filter()), {ACCOUNT: ReplayPace(1.0, "group", 1e9)}))
    places = fleet.places(ACCOUNT)
    assert (places.dead, places.balanced) == (400, True)
    assert (tracking.otps.queued, tracking.otps.refused, tracking.gaps) == (0, 400, (0, 0))


async def test_what_a_dead_worker_held_stays_behind_all_others(short_lived: Fleet) -> None:
    """Recovery puts it where it was; and what a clock that was set back left far ahead is let go, still behind."""
    fleet, tracking = short_lived, watching(short_lived)
    close(tracking, 2)
    held = await fleet.take(2, account=ACCOUNT)
    index: Any = fleet.keys.scheduled(ACCOUNT)
    await fleet.settle(held[0], Schedule(10**7))
    fleet.server.zadd(fleet.keys.workers, {"w1": 1})
    fleet.server.hset(fleet.keys.maintenance, "heartbeat_ms", fleet.now_us() // 1000)
    found = await fleet.queue("w2").recover([ACCOUNT])
    assert found.taken_back == 1
    live(fleet, 1)
    order = [name for _ in range(3) for name in named(await fleet.take(1, "w2", ACCOUNT))]
    assert order[:2] == ["live", "automatic"]
    assert all(score >= 2**43 for _, score in fleet.server.zrange(index, 0, -1, withscores=True))


async def test_who_was_verified_waits_for_no_report_that_says_otherwise(
    fleet: Fleet, tracking: Tracking
) -> None:
    """A late true goes once no request of the report is under way, and is the last word."""
    close(tracking, 1)
    async with opened(fleet, {ACCOUNT: GROUP}) as door:
        [made] = await fleet.take(1, account=ACCOUNT)
        late = await door.lease("n0", ACCOUNT)
        assert await door.enter(made) is None
        assert await door.enter(late) is Refusal.COPY_IN_FLIGHT
        await fleet.settle(made, Schedule(60.0))
        assert await door.enter(late) is None
        await fleet.settle(late, DONE)
        fleet.server.zadd(fleet.keys.scheduled(ACCOUNT), {made.tag: 2**43})
        [again] = await fleet.take(1, account=ACCOUNT)
        assert again.tag == made.tag
        assert await door.enter(again) is Refusal.DUPLICATE
