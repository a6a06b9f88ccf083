"""Event after event is refused: the account stops, and is searched for one that is taken."""

from collections import Counter

import pytest

from tasks.accounts.states import State, States
from tasks.delivery import Delivery
from tasks.fleet.operation import Mode, Operation
from tasks.limiter.admission import RateGroup
from tasks.queue.queue import Queue
from tasks.retry import Reason
from tasks.settlement import Bury, Ending, Finish, Schedule
from tests.support.leased import event
from tests.support.queues import Fleet, alter

DONE = Finish(Ending.DELIVERED)
SAID = (
    b'{"reason":"permanent","code":"InvalidParameterValue","message":"SerialNo is not of this account"}\nraw'
)
REFUSED = Bury(Reason.PERMANENT, SAID)
NAME = "tencent"


def states(fleet: Fleet) -> States:
    """Return the states as a worker sees them."""
    return States(fleet.client, fleet.keys, {NAME: RateGroup(NAME, 500)})


async def state(fleet: Fleet) -> State:
    """Return the account's state."""
    return (await states(fleet).read())[NAME]


async def refuse(fleet: Fleet, number: int) -> None:
    """Let so many events be refused, one after another."""
    fleet.send_many(number)
    for delivery in await fleet.take(number):
        assert await fleet.settle(delivery, REFUSED)


def named(deliveries: list[Delivery]) -> list[str]:
    """Return their message ids."""
    return [delivery.event.message_id for delivery in deliveries]


async def search(fleet: Fleet) -> list[Delivery]:
    """Return the probes of one round."""
    fleet.probe_now()
    return await fleet.take(100)


async def deliver(fleet: Fleet) -> None:
    """Let a probe be delivered, as a report does it."""
    (probe, *others) = await search(fleet)
    await states(fleet).resume(NAME, delivered=True)
    await fleet.settle(probe, DONE)
    for other in others:
        await fleet.settle(other, REFUSED)


async def test_it_is_named_for_what_it_is(fleet: Fleet) -> None:
    """The state says how many were refused, and what the provider said last; each further one is told."""
    await refuse(fleet, 49)
    assert (await state(fleet)).name == "running"
    await refuse(fleet, 1)
    stopped = await state(fleet)
    assert (stopped.name, stopped.code, stopped.refused) == ("refused", "permanent_run", 50)
    last = "InvalidParameterValue: SerialNo is not of this account"
    assert stopped.message == f"50 events in a row were refused, the last: {last}"
    fleet.send_many(1)
    (probe,) = await search(fleet)
    await fleet.settle(probe, REFUSED)
    assert (await state(fleet)).message.startswith("51 events in a row were refused, ")


@pytest.mark.parametrize("letter", [b"", b"no json\nraw", b"[]\n", b'{"code":null}\n'])
async def test_a_letter_that_says_nothing_stops_it_all_the_same(fleet: Fleet, letter: bytes) -> None:
    """What an older worker wrote, or a stranger, breaks no settle."""
    fleet.send_many(50)
    for delivery in await fleet.take(50):
        await fleet.settle(delivery, Bury(Reason.PERMANENT, letter))
    assert (await state(fleet)).name == "refused"


async def test_probes_double_while_all_are_refused(fleet: Fleet) -> None:
    """1, 2, 4, 8, 16 and no more, a second apart, and none while the last of a round is under way.

    What was under way when it stopped was no probe.
    """
    await refuse(fleet, 60)
    fleet.send_many(200)
    rounds: list[int] = []
    for _ in range(6):
        probes = await search(fleet)
        due = int(fleet.state()["probe_at_ms"]) - fleet.now_us() // 1000
        assert 0 < due <= 1000
        assert all(probe.leased.probe for probe in probes)
        assert not await search(fleet)
        for probe in probes:
            await fleet.settle(probe, REFUSED)
        rounds.append(len(probes))
    assert rounds == [1, 2, 4, 8, 16, 16]


async def test_probes_that_nobody_answers_do_not_double(fleet: Fleet) -> None:
    """An outage amid a search makes no more requests of it."""
    await refuse(fleet, 50)
    fleet.send_many(200)
    for _ in range(5):
        (probe,) = await search(fleet)
        probe.sending = True
        await fleet.settle(probe, Schedule(60.0))


async def test_after_a_minute_of_refusals_a_few_are_tried_now_and_then(fleet: Fleet) -> None:
    """An account that is really refused loses three events in ten seconds, not sixteen in each."""
    await refuse(fleet, 50)
    fleet.send_many(200)
    hash_ = fleet.keys.account(NAME)
    fleet.server.hset(hash_, mapping={"search_refused": 500, "since_ms": fleet.now_us() // 1000 - 60_000})
    probes = await search(fleet)
    assert len(probes) == 3
    due = int(fleet.state()["probe_at_ms"]) - fleet.now_us() // 1000
    assert 9000 < due <= 10_000


async def test_probes_come_from_everywhere(fleet: Fleet) -> None:
    """Newest, oldest and any in turn: whatever end the good ones stand at, one is found soon, and none is lost."""
    await refuse(fleet, 50)
    fleet.server.hset(fleet.keys.account(NAME), "search_refused", 500)
    fleet.send_many(3000)
    first, last = 50, 3049
    seen: Counter[str] = Counter()
    amid: list[int] = []
    for _ in range(12):
        for probe in await search(fleet):
            number = int(probe.event.message_id.removeprefix("tencent-"))
            newest, oldest = number > last - 200, number < first + 200
            seen["newest" if newest else "oldest" if oldest else "amid"] += 1
            if not newest and not oldest:
                amid.append(number)
            await fleet.settle(probe, REFUSED)
    assert seen["newest"] >= 50
    assert seen["oldest"] >= 50
    assert seen["amid"] >= 40
    assert len({number // 500 for number in amid}) >= 5, "from all over the list"
    fleet.server.hdel(fleet.keys.account(NAME), "state")
    rest = [id_ for _ in range(40) for id_ in named(await fleet.take(100))]
    assert len(rest) == 3000 - seen.total()
    assert len(set(rest)) == len(rest)
    assert fleet.places().balanced


async def good_found(fleet: Fleet) -> bool:
    """Let a hundred wrong events stand before ten good ones; whether five rounds find one of these."""
    await refuse(fleet, 50)
    fleet.send_many(100)
    fleet.send(*(event(f"good-{number}") for number in range(10)))
    found = False
    for _ in range(5):
        for probe in await search(fleet):
            found |= probe.event.message_id.startswith("good-")
            await fleet.settle(probe, REFUSED)
    return found


async def test_good_events_behind_wrong_ones_are_found(fleet: Fleet) -> None:
    """With 31 probes, for the newest are among them."""
    assert await good_found(fleet)


async def test_probing_the_oldest_alone_finds_none(fleet: Fleet) -> None:
    """It is where the probes come from that finds one: the same number from the old end alone dies."""
    alter(
        fleet.queue(),
        "_lease_script",
        "queue/lease.lua",
        "local WHERE = { 'newest', 'oldest', 'any' }",
        "local WHERE = { 'oldest' }",
    )
    assert not await good_found(fleet)


async def test_a_probe_from_amid_the_list_moves_no_event_back(fleet: Fleet) -> None:
    """Its place is filled by the newest: the others keep theirs."""
    await refuse(fleet, 50)
    fleet.send_many(100)
    fleet.server.hset(fleet.keys.account(NAME), "search_refused", 2)
    fleet.probe_now()
    (gone,) = named(await fleet.take(1))
    fleet.server.hdel(fleet.keys.account(NAME), "state")
    every = [f"tencent-{number}" for number in range(50, 150)]
    expected = [every[-1] if id_ == gone else id_ for id_ in every[:-1]]
    assert named(await fleet.take(100)) == expected


@pytest.mark.parametrize("step", [1, 3])
async def test_every_priority_is_searched(fleet: Fleet, step: int) -> None:
    """Wrong events of one priority hide no good ones of another."""
    await refuse(fleet, 50)
    fleet.send_many(50)
    fleet.send(*(event(f"other-{number}") for number in range(50)), step=step)
    found: set[str] = set()
    for _ in range(8):
        for probe in await search(fleet):
            found.add(probe.event.message_id.partition("-")[0])
            await fleet.settle(probe, REFUSED)
    assert found == {"tencent", "other"}


async def test_what_was_leased_when_it_stopped_is_searched_as_well(fleet: Fleet) -> None:
    """Events that were handed back stand at no end of the list; the good one may be among them."""
    fleet.send_many(60)
    *refused, good = await fleet.take(51)
    for delivery in refused:
        await fleet.settle(delivery, REFUSED)
    await fleet.settle(good, Schedule(0.0))
    found: list[str] = []
    for _ in range(2):
        for probe in await search(fleet):
            found.append(probe.event.message_id)
            await fleet.settle(probe, REFUSED)
    assert good.event.message_id in found


async def test_one_delivered_keeps_it_running_for_a_minute(fleet: Fleet) -> None:
    """It was the events: they end as dead letters at the account's rate; later they may stop it again."""
    await refuse(fleet, 50)
    fleet.send_many(1)
    await deliver(fleet)
    assert (await state(fleet)).name == "running"
    await refuse(fleet, 200)
    assert (await state(fleet)).name == "running"
    assert fleet.places().dead == 250
    fleet.server.hincrby(fleet.keys.account(NAME), "cleared_ms", -60_000)
    await refuse(fleet, 1)
    assert (await state(fleet)).refused == 201


async def test_without_that_minute_it_stops_again(fleet: Fleet) -> None:
    """It is the note of what a search found that keeps fifty more from stopping it."""
    await refuse(fleet, 50)
    fleet.send_many(1)
    alter(
        fleet.queue(),
        "_settle_script",
        "queue/settle.lua",
        "(now < cleared + CLEAR and cleared <= now)",
        "false",
    )
    await deliver(fleet)
    await refuse(fleet, 50)
    assert (await state(fleet)).name == "refused"


async def test_a_minute_that_lies_in_the_future_is_none(fleet: Fleet) -> None:
    """Redis' clock was set back since: the protection is not off for as long."""
    hour = fleet.now_us() // 1000 + 3_600_000
    fleet.server.hset(fleet.keys.account(NAME), "cleared_ms", hour)
    await refuse(fleet, 50)
    assert (await state(fleet)).name == "refused"


async def test_the_number_is_a_setting(fleet: Fleet) -> None:
    """Three in a row where the operator says three; with 0 any number of them stops nothing."""
    for number, name in ((3, "refused"), (0, "running")):
        fleet.server.flushall()
        queue = Queue(
            fleet.client, fleet.keys, "w1", lease=30.0, remembered=fleet.remembered, refused_run=number
        )
        fleet.send_many(120)
        for leased in (await queue.lease({NAME: 120})).leased:
            await queue.settle([(leased, REFUSED)], queue.next_call())
        assert (await state(fleet)).name == name
        assert (await state(fleet)).refused == (120 if number else 0)


async def test_it_keeps_going_where_an_operator_says_so(fleet: Fleet) -> None:
    """However many are refused, also after an outage and a pause; the next resume ends it."""
    hand = Operation(fleet.server, fleet.keys)
    await refuse(fleet, 50)
    hand.resume(NAME, keep_going_by="alice")
    await refuse(fleet, 120)
    assert ((await state(fleet)).name, (await state(fleet)).keep_going) == ("running", "alice")
    fleet.set_state("open")
    await states(fleet).resume(NAME, delivered=True)
    assert (await state(fleet)).keep_going == "alice"
    hand.pause(NAME, Mode.WAIT, by="bob", why="x")
    assert (await state(fleet)).keep_going == "alice"
    hand.resume(NAME)
    assert (await state(fleet)).keep_going == ""
    await refuse(fleet, 50)
    assert (await state(fleet)).name == "refused"


@pytest.mark.parametrize("name", ["held", "shed"])
async def test_a_hand_is_stronger(fleet: Fleet, name: str) -> None:
    """Fifty refusals that were under way when an operator paused the account do not undo what he did."""
    fleet.send_many(60)
    deliveries = await fleet.take(60)
    fleet.set_state(name)
    for delivery in deliveries:
        await fleet.settle(delivery, REFUSED)
    assert fleet.state()["state"] == name
    assert "message" not in fleet.state()


async def test_a_provider_that_refuses_the_account_ends_the_search(fleet: Fleet) -> None:
    """An answer against the account itself is another stop: one probe at a time, and its own words."""
    await refuse(fleet, 50)
    fleet.send_many(20)
    fleet.server.hset(fleet.keys.account(NAME), mapping={"code": "AuthFailure", "search_refused": 9})
    assert (await state(fleet)).refused == 0
    assert len(await search(fleet)) == 1
