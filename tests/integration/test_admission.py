import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from itertools import pairwise
from typing import cast

import pytest
import redis
from redis.exceptions import RedisError

from tasks.accounts.states import States
from tasks.delivery import Delivery
from tasks.limiter import admission as module
from tasks.limiter.admission import AT_ONCE, HORIZON, Admission, Line, RateGroup, Refusal, Slot
from tasks.limiter.clock import RedisClock
from tasks.limiter.rate import Rate
from tasks.script import text_of
from tasks.settlement import Ending, Finish, Schedule
from tests.support.entering import entered
from tests.support.leased import event
from tests.support.proxy import Proxy
from tests.support.queues import Fleet, alter
from tests.support.wait import coming
from worker.connect import connect
from worker.embedded import EmbeddedValkey

GROUP = RateGroup("shared", 1000)
HORIZON_US = HORIZON * 1e6


class Door:
    """An admission of one worker, running; `errors` are what it told."""

    def __init__(self, fleet: Fleet, groups: Mapping[str, RateGroup], worker: str = "w1") -> None:
        self.fleet, self.worker = fleet, worker
        self.errors: list[RedisError] = []
        self.admission = Admission(
            fleet.client,
            fleet.keys,
            worker,
            groups,
            remembered=fleet.remembered,
            clock=RedisClock(),
            on_error=self.errors.append,
        )

    async def lease(self, message_id: str, account: str = "tencent", *, verified: bool = True) -> Delivery:
        """Lease one event with this id."""
        self.fleet.send(event(message_id, account, verified=verified))
        (delivery,) = await self.fleet.take(1, self.worker, account)
        return delivery

    async def enter(self, delivery: Delivery) -> Refusal | None:
        """Go through, or return why not; TimeoutError when that takes long."""
        async with asyncio.timeout(20):
            answer = await entered(self.admission, delivery)
        return answer if isinstance(answer, Refusal) else None

    async def slot(self, delivery: Delivery) -> Slot:
        """Go through and return the slot."""
        async with asyncio.timeout(20):
            answer = await entered(self.admission, delivery)
        assert isinstance(answer, Slot)
        return answer

    async def arrivals(self, deliveries: list[Delivery]) -> list[float]:
        """Let all through as they may; return when each went."""

        async def go(delivery: Delivery) -> float:
            assert isinstance(await entered(self.admission, delivery), Slot)
            return time.monotonic()

        async with asyncio.timeout(60):
            return await asyncio.gather(*(go(delivery) for delivery in deliveries))


@contextlib.asynccontextmanager
async def opened(
    fleet: Fleet, groups: Mapping[str, RateGroup] | None = None, worker: str = "w1"
) -> AsyncGenerator[Door]:
    """Run an admission for the time of a test."""
    door = Door(fleet, groups or {"tencent": GROUP, "alibaba": GROUP}, worker)
    task = asyncio.create_task(door.admission.run())
    yield door
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def fullest_second(arrivals: list[float]) -> int:
    """Return the most arrivals of any sliding second."""
    ordered = sorted(arrivals)
    return max(sum(start <= at < start + 1 for at in ordered) for start in ordered)


def next_us(fleet: Fleet, group: RateGroup = GROUP) -> int:
    """Return the group's next free slot."""
    return int(fleet.server.hget(fleet.keys.rate(group.name), "next_us"))


async def test_an_event_goes_and_owns_its_message_id(fleet: Fleet) -> None:
    """An event that may go is let through, and its message id is claimed for it."""
    async with opened(fleet) as door:
        delivery = await door.lease("m1")
        assert await door.enter(delivery) is None
    assert fleet.server.hgetall(fleet.keys.claims) == {
        delivery.fingerprint.claim.encode(): delivery.tag.encode()
    }


async def test_the_limit_holds_for_all_workers_together(fleet: Fleet) -> None:
    """Four workers with two accounts of one group: no sliding second has more than the limit, none much less."""
    limit = 40
    groups = {name: RateGroup("main-account", limit) for name in ("tencent", "alibaba")}
    arrivals = await saturate(fleet, [groups] * 4)
    assert fullest_second(arrivals) <= limit
    assert len(arrivals) / (max(arrivals) - min(arrivals)) > limit / 2


async def test_workers_that_do_not_share_a_group_break_the_limit(fleet: Fleet) -> None:
    """The limit is kept in Redis: with a group of its own for each worker the same load breaks it."""
    limit = 40
    own = [{name: RateGroup(f"group-{n}", limit) for name in ("tencent", "alibaba")} for n in range(4)]
    assert fullest_second(await saturate(fleet, own)) > limit


async def saturate(fleet: Fleet, workers: Sequence[Mapping[str, RateGroup]]) -> list[float]:
    """Let every worker send 12 events of each account as fast as it may; return all arrivals."""
    async with contextlib.AsyncExitStack() as stack:
        sending: list[asyncio.Task[list[float]]] = []
        for number, groups in enumerate(workers):
            door = await stack.enter_async_context(opened(fleet, groups, f"w{number}"))
            events: list[Delivery] = []
            for account in groups:
                fleet.send_many(12, account)
                events += await fleet.take(12, door.worker, account)
            sending.append(asyncio.create_task(door.arrivals(events)))
        return [at for arrivals in await asyncio.gather(*sending) for at in arrivals]


async def test_first_come_first_served(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of one worker and account go in the order they came, also when they have to ask again."""
    monkeypatch.setattr(module, "TOLERANCE", 60.0)  # who comes too late, on a busy machine, asks again
    async with opened(fleet, {"tencent": RateGroup("g", 200)}) as door:
        fleet.send_many(60)
        deliveries = await fleet.take(60)
        arrivals = await door.arrivals(deliveries)
    # within one tick several go at once, in either order
    waves = [index // 10 for index in sorted(range(len(arrivals)), key=arrivals.__getitem__)]
    assert all(first <= second + 1 for first, second in pairwise(waves))


async def test_groups_do_not_wait_for_each_other(fleet: Fleet) -> None:
    """A group whose slots are used up for a long time does not hold up another."""
    slow, quick = RateGroup("slow", 1), RateGroup("quick", 1000)
    async with opened(fleet, {"tencent": slow, "alibaba": quick}) as door:
        waiting = [asyncio.create_task(door.enter(await door.lease(f"s{n}"))) for n in range(5)]
        fleet.send_many(50, "alibaba")
        await door.arrivals(await fleet.take(50, "w1", "alibaba"))
        assert sum(task.done() for task in waiting) < 5
        for task in waiting:
            task.cancel()


async def test_a_slot_lies_at_most_the_horizon_ahead(fleet: Fleet) -> None:
    """However many wait, what is handed out lies no further ahead than the horizon."""
    group = RateGroup("g", 100)
    async with opened(fleet, {"tencent": group}) as door:
        fleet.send_many(40)
        sending = asyncio.create_task(door.arrivals(await fleet.take(40)))
        await coming(lambda: fleet.server.exists(fleet.keys.rate(group.name)))
        ahead: list[int] = []
        while not sending.done():
            await asyncio.sleep(0.005)
            ahead.append(next_us(fleet, group) - fleet.now_us())
    # `next` is the slot after the last that was handed out
    assert max(ahead) <= HORIZON_US + 1e6 / group.pace + 1
    assert max(ahead) > 0


async def test_a_missed_slot_is_thrown_away(fleet: Fleet) -> None:
    """A worker that stood still asks for new slots: it does not send at once what it could not send in time."""
    assert await gone_late_after_a_stall(fleet) == 0


async def test_without_tolerance_a_stalled_worker_bursts(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the look at the clock that prevents the burst: without it all missed slots are used at once."""
    monkeypatch.setattr(module, "TOLERANCE", 60.0)
    assert await gone_late_after_a_stall(fleet) >= 5


async def gone_late_after_a_stall(fleet: Fleet) -> int:
    """Stall the loop when slots were handed out; return how many events go on a slot that passed meanwhile."""
    async with opened(fleet, {"tencent": RateGroup("g", 300)}) as door:
        fleet.send_many(16)
        deliveries = await fleet.take(16)
        tasks = [asyncio.create_task(door.slot(delivery)) for delivery in deliveries]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        waiting = [task for task in tasks if not task.done()]
        time.sleep(0.3)  # noqa: ASYNC251 - the stall
        missed = time.monotonic() - 0.1
        await asyncio.gather(*tasks)
    return sum(task.result().send_by - module.TOLERANCE < missed for task in waiting)


async def test_who_missed_its_slot_is_the_first_to_get_another(fleet: Fleet) -> None:
    """A stall costs no event its turn: those that had a slot do not go behind those that had none."""
    gone: list[Delivery] = []

    async def go(delivery: Delivery) -> None:
        await door.slot(delivery)
        gone.append(delivery)

    async with opened(fleet, {"tencent": RateGroup("g", 300)}) as door:
        fleet.send_many(60)
        deliveries = await fleet.take(60)
        tasks = [asyncio.create_task(go(delivery)) for delivery in deliveries]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        missed = list(filter(door.admission.has_slot, deliveries))
        time.sleep(0.3)  # noqa: ASYNC251 - the stall
        await asyncio.gather(*tasks)
    assert missed
    assert max(map(gone.index, missed)) < 40


async def test_who_is_late_for_the_slot_it_has_is_the_first_to_get_another(fleet: Fleet) -> None:
    """Nor does a stall between its slot and its going: with the others of that moment it goes before the rest."""
    gone: list[Delivery] = []
    missed: list[Delivery] = []

    async def go(delivery: Delivery) -> None:
        await door.slot(delivery)
        gone.append(delivery)
        if not missed:
            missed.extend(filter(door.admission.has_slot, deliveries))
            time.sleep(0.3)  # noqa: ASYNC251 - the stall

    async with opened(fleet, {"tencent": RateGroup("g", 500)}) as door:
        fleet.send_many(90)
        deliveries = await fleet.take(90)
        await asyncio.gather(*map(go, deliveries))
    assert max(map(gone.index, missed)) < 60


async def test_who_stalls_when_its_slot_has_come_waits_for_another(fleet: Fleet) -> None:
    """Those of one moment go one after another: where the first of them holds the loop up, the others are too late."""
    stalls = 3  # one may have had no others with it
    on_time: list[bool] = []
    all_went = asyncio.Event()

    def go(slot: Slot | Refusal) -> None:
        nonlocal stalls
        assert isinstance(slot, Slot)
        on_time.append(time.monotonic() <= slot.send_by)
        if stalls:
            stalls -= 1
            time.sleep(0.05)
        if len(on_time) == 40:
            all_went.set()

    async with opened(fleet, {"tencent": RateGroup("g", 5000)}) as door:
        fleet.send_many(40)
        for delivery in await fleet.take(40):
            door.admission.enter(delivery, go)
        async with asyncio.timeout(20):
            await all_went.wait()
    assert all(on_time)


async def test_who_stalls_and_loses_its_lease_does_not_go(fleet: Fleet) -> None:
    """After the stall another worker may have the event: then it is that one's."""
    async with opened(fleet) as door:
        delivery = await door.lease("m1")
        entering = asyncio.create_task(door.enter(delivery))
        await coming(lambda: door.admission.has_slot(delivery))
        fleet.server.delete(fleet.keys.held("w1"))
        time.sleep(0.3)  # noqa: ASYNC251 - the stall
        assert await entering is Refusal.LEASE_LOST


async def test_who_comes_again_was_not_late_for_that(fleet: Fleet) -> None:
    """A connection that takes its time has its event come again; that does not speak against the worker."""
    async with opened(fleet) as door:
        delivery = await door.lease("m1")
        slot = await door.slot(delivery)
        before = door.admission.at_once
        await asyncio.sleep(slot.send_by + 0.01 - time.monotonic())
        await door.slot(delivery)
        assert door.admission.at_once == before


async def test_a_late_worker_asks_for_fewer_slots(fleet: Fleet) -> None:
    """Who misses slots asks for half as many at once, however many one stall missed, and for more when on time."""
    async with opened(fleet, {"tencent": RateGroup("g", 300)}) as door:
        fleet.send_many(16)
        door.admission.at_once = AT_ONCE // 2  # so that it may also grow
        tasks = [asyncio.create_task(door.enter(delivery)) for delivery in await fleet.take(16)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        before = door.admission.at_once
        time.sleep(0.3)  # noqa: ASYNC251 - the stall
        for _ in range(3):
            await asyncio.sleep(0)
        lowest = after_stall = door.admission.at_once
        while not all(task.done() for task in tasks):
            lowest = min(lowest, door.admission.at_once)  # a busy machine may stall once more
            await asyncio.sleep(0)
    assert after_stall == before // 2
    assert door.admission.at_once > lowest


async def test_a_worker_has_no_more_slots_than_it_can_serve(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it asks, so many as it asks for at once have a slot ahead of them, and all go in the end."""
    above: list[int] = []

    class Watched(Line):
        def take(self, now: float, at_once: int, free: int = AT_ONCE) -> list[Delivery]:
            taken = super().take(now, at_once, free)
            above.append(self.ahead + len(taken) - at_once)
            return taken

    monkeypatch.setattr(module, "Line", Watched)
    async with opened(fleet, {"tencent": RateGroup("g", 400)}) as door:
        fleet.send_many(60)
        door.admission.at_once = 2
        await door.arrivals(await fleet.take(60))
    assert max(above) == 0


async def test_who_is_withdrawn_while_redis_is_asked_does_not_go(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot that it got passes unused, and nobody hears of it; the others go."""
    heard: list[str] = []

    class Withdrawing(Line):
        def take(self, now: float, at_once: int, free: int = AT_ONCE) -> list[Delivery]:
            taken = super().take(now, at_once, free)
            if first in taken:
                asyncio.get_running_loop().call_soon(door.admission.withdraw, first)
            return taken

    monkeypatch.setattr(module, "Line", Withdrawing)
    fleet.send_many(3)
    first, *others = await fleet.take(3)
    async with opened(fleet) as door:
        door.admission.enter(first, lambda _: heard.append(first.tag))
        assert [await door.enter(delivery) for delivery in others] == [None, None]
        await asyncio.sleep(2 * HORIZON)
    assert heard == []


async def test_who_is_turned_away_while_redis_is_asked_does_not_wait_on(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that is asked for at that moment, and gets no slot, goes back like those that wait."""

    class Turning(Line):
        def take(self, now: float, at_once: int, free: int = AT_ONCE) -> list[Delivery]:
            taken = super().take(now, at_once, free)
            if taken:
                asyncio.get_running_loop().call_soon(door.admission.cancel_waiting, "tencent")
            return taken

    monkeypatch.setattr(module, "Line", Turning)
    fleet.server.hset(fleet.keys.rate("g"), "pause_us", fleet.now_us() + 50_000_000)
    async with opened(fleet, {"tencent": RateGroup("g", 100)}) as door:
        assert await door.enter(await door.lease("1")) is Refusal.NOT_RUNNING


async def test_a_redis_far_away_still_lets_events_go(fleet: Fleet, shared_valkey: EmbeddedValkey) -> None:
    """Its answers take longer than a slot lasts: the slots lie so far ahead that they have not passed."""
    assert await gone_through_a_far_redis(fleet, shared_valkey) == 5


async def test_without_the_lead_every_slot_has_passed(
    fleet: Fleet, shared_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the lead: a slot that is now when Redis gives it has passed when the worker hears of it."""
    monkeypatch.setattr(module, "LEAD", 0.0)
    assert await gone_through_a_far_redis(fleet, shared_valkey, patience=1.0) == 0


async def gone_through_a_far_redis(fleet: Fleet, server: EmbeddedValkey, patience: float = 5.0) -> int:
    """Return how many of five events go, one after another, while Redis answers after 40 ms.

    Each of them may wait for `patience` seconds, and for one second once another has gone.
    """
    fleet.send_many(5)
    deliveries = await fleet.take(5)
    gone = 0
    with Proxy(server.port, delay=0.04) as proxy:
        near, fleet.client = fleet.client, connect(proxy.url)
        async with opened(fleet, {"tencent": RateGroup("g", 1000)}) as door:
            for delivery in deliveries:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0 if gone else patience):
                        gone += isinstance(await entered(door.admission, delivery), Slot)
        await fleet.client.aclose()
        fleet.client = near
    return gone


async def test_a_worker_farther_away_gets_slots_too(fleet: Fleet, shared_valkey: EmbeddedValkey) -> None:
    """Two workers with a backlog share a slow group, though one of them hears a little later of each slot."""
    assert await slots_of_the_farther(fleet, shared_valkey) >= 5


async def test_all_at_the_same_moment_the_nearer_gets_them(
    fleet: Fleet, shared_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the spread: if all ask when the next slot comes, the nearest is the first each time.

    With the spread the farther gets some seventeen, without it one where a busy machine holds the nearer up.
    """
    monkeypatch.setattr("tasks.limiter.admission.random.random", lambda: 0.0)
    assert await slots_of_the_farther(fleet, shared_valkey) < 12


async def slots_of_the_farther(fleet: Fleet, server: EmbeddedValkey) -> int:
    """Return how many of sixty slots go to a worker whose Redis is 5 ms away, beside one near by."""
    groups = {"tencent": RateGroup("g", 20)}
    fleet.send_many(120)
    near, far = await fleet.take(60, "near"), await fleet.take(60, "far")
    client = fleet.client
    with Proxy(server.port, delay=0.005) as proxy:
        async with opened(fleet, groups, "near") as door:
            fleet.client = connect(proxy.url)
            async with opened(fleet, groups, "far") as farther:
                theirs = [asyncio.create_task(door.enter(delivery)) for delivery in near]
                ours = [asyncio.create_task(farther.enter(delivery)) for delivery in far]
                await coming(lambda: sum(task.done() for task in theirs + ours) >= 60)
                gone = sum(task.done() for task in ours)
                for task in theirs + ours:
                    task.cancel()
            await fleet.client.aclose()
            fleet.client = client
    return gone


async def test_a_worker_asks_for_little_more_than_there_is(fleet: Fleet) -> None:
    """While many wait for a slot it asks for about as many as it got the last time."""
    assert await asked_for_each_slot(fleet) < 4


async def test_a_worker_that_does_not_learn_asks_in_vain(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what it learned: else all that might fit into the horizon are asked for each time."""
    learn = Line.learn

    def learn_nothing(line: Line, answers: Collection[int], now: float, long_turn: float) -> None:
        """Go on asking for all."""
        learn(line, answers, now, long_turn)
        line.likely = AT_ONCE

    monkeypatch.setattr(Line, "learn", learn_nothing)
    assert await asked_for_each_slot(fleet) > 4


async def asked_for_each_slot(fleet: Fleet) -> float:
    """Return how many events are asked for until one has a slot."""
    asked = 0

    class Counting(Line):
        def take(self, now: float, at_once: int, free: int = AT_ONCE) -> list[Delivery]:
            nonlocal asked
            taken = super().take(now, at_once, free)
            asked += len(taken)
            return taken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Line", Counting)
        fleet.server.hset(fleet.keys.rate("g"), "override", "100")  # as where others take the rest
        async with opened(fleet, {"tencent": RateGroup("g", 900)}) as door:
            fleet.send_many(150)
            await door.arrivals(await fleet.take(150))
    return asked / 150


async def test_a_lost_limiter_key_begins_anew_at_the_horizon(fleet: Fleet) -> None:
    """When Redis forgot the group, no slot lies before the end of those that may have been handed out."""
    assert await slot_after_loss(fleet) >= HORIZON_US


async def test_beginning_anew_at_once_would_use_slots_twice(fleet: Fleet) -> None:
    """The wait can be missed: a script that begins anew at once hands out a slot before the horizon."""
    assert (
        await slot_after_loss(fleet, "next_slot = now + horizon + interval", "next_slot = now") < HORIZON_US
    )


async def slot_after_loss(fleet: Fleet, *altered: str) -> float:
    """Return how many us after the loss of the key the next slot lies."""
    async with opened(fleet) as door:
        if altered:
            alter(door.admission, "_script", "limiter/admit.lua", *altered)
        assert await door.enter(await door.lease("m1")) is None
        second = await door.lease("m2")
        fleet.server.delete(fleet.keys.rate(GROUP.name))
        before = fleet.now_us()
        assert await door.enter(second) is None
        return next_us(fleet) - 1e6 / GROUP.pace - before


async def test_a_limiter_key_too_far_ahead_begins_anew(fleet: Fleet) -> None:
    """A slot that nobody can have been given (Redis' clock was set back) holds nobody up."""
    fleet.server.hset(fleet.keys.rate(GROUP.name), "next_us", fleet.now_us() + 3_600_000_000)
    before = fleet.now_us()
    async with opened(fleet) as door:
        assert await door.enter(await door.lease("m1")) is None
    assert HORIZON_US <= next_us(fleet) - before < 60_000_000


async def test_a_limiter_key_far_ahead_would_hold_everybody_up(fleet: Fleet) -> None:
    """Without that rule the event would wait for an hour."""
    fleet.server.hset(fleet.keys.rate(GROUP.name), "next_us", fleet.now_us() + 3_600_000_000)
    async with opened(fleet) as door:
        alter(
            door.admission,
            "_script",
            "limiter/admit.lua",
            "next_slot <= now + 2 * horizon + interval",
            "true",
        )
        waiting = asyncio.create_task(entered(door.admission, await door.lease("m1")))
        _, pending = await asyncio.wait([waiting], timeout=1.0)
        assert pending == {waiting}
        waiting.cancel()


async def test_the_lower_rate_of_a_throttled_group_counts(fleet: Fleet) -> None:
    """After the provider throttled, slots lie further apart, for every worker."""
    fleet.server.hset(
        fleet.keys.rate(GROUP.name), mapping={"rate": "10.000", "top": "10.000", "lowered_us": fleet.now_us()}
    )
    async with opened(fleet) as door:
        fleet.send_many(2)
        before = fleet.now_us()
        await door.arrivals(await fleet.take(2))
    # the first slot, the second, and the next one
    assert next_us(fleet) - before >= 2 * 1e6 * 1.035 / 10


async def test_a_throttled_group_climbs_back(fleet: Fleet) -> None:
    """After an hour without a throttled answer it is back at its limit, and never above it."""
    rate = fleet.keys.rate(GROUP.name)
    fleet.server.hset(rate, mapping={"rate": "10.000", "lowered_us": fleet.now_us() - 3_600_000_000})
    async with opened(fleet) as door:
        assert await door.enter(await door.lease("m1")) is None
        before = next_us(fleet)
        fleet.send_many(40)
        await door.arrivals(await fleet.take(40))
    # 40 slots at the full rate; had it not climbed, four seconds
    assert next_us(fleet) - before < 3_000_000


async def test_a_rate_that_was_lowered_in_the_future_counts_no_more(fleet: Fleet) -> None:
    """Redis' clock was set back since: slots come at the limit, not an hour of climbing below it."""
    rate = fleet.keys.rate(GROUP.name)
    later = fleet.now_us() + 3_600_000_000
    fleet.server.hset(rate, mapping={"rate": "10.000", "top": "10.000", "lowered_us": later})
    async with opened(fleet) as door:
        assert await door.enter(await door.lease("m1")) is None
        before = next_us(fleet)
        fleet.send_many(40)
        await door.arrivals(await fleet.take(40))
    assert 0.99e6 * 40 / GROUP.pace < next_us(fleet) - before < 3_000_000


async def test_a_group_steps_down_once_a_second(fleet: Fleet) -> None:
    """However many answers throttle at once, the rate falls one step; and never below its floor."""

    def another_worker() -> States:
        return States(fleet.client, fleet.keys, {"tencent": GROUP})

    rate = fleet.keys.rate(GROUP.name)
    for _ in range(20):
        await another_worker().slow_down("tencent")
    assert fleet.server.hget(rate, "rate") == b"700.000"
    for _ in range(20):
        fleet.server.hset(rate, "lowered_us", fleet.now_us() - 1_000_000)
        await another_worker().slow_down("tencent")
    lowest = float(fleet.server.hget(rate, "rate"))
    assert 20 <= lowest < 100


@pytest.mark.parametrize("age", [-3600.0, 0.0, 3.0, 9.0, 12.0, 20.0, 3600.0])
async def test_redis_and_the_snapshot_agree_on_a_rate(fleet: Fleet, age: float) -> None:
    """The rate that scripts grant is the one that is shown."""
    lowered = fleet.now_us() - round(age * 1e6)
    stored = {"rate": "140", "top": "200", "lowered_us": lowered, "override": "900"}
    fleet.server.hset(fleet.keys.rate(GROUP.name), mapping=stored)
    asking = text_of("accounts/throttle.lua").replace("rate * tonumber(ARGV[2])", "rate")
    granted = float(fleet.server.eval(asking, 1, fleet.keys.rate(GROUP.name), GROUP.limit, 1, 0, 0))
    shown = Rate(140.0, 200.0, lowered / 1e6, 900.0).effective(GROUP.limit, fleet.now_us() / 1e6)
    assert granted == pytest.approx(shown, rel=0.01)


async def test_a_provider_that_wants_to_be_left_alone_is(fleet: Fleet) -> None:
    """For as long as it says no slot of the group is given, to any worker; after that they come again."""
    await States(fleet.client, fleet.keys, {"tencent": GROUP}).slow_down("tencent", 0.4)
    before = fleet.now_us()
    async with opened(fleet) as door:
        assert await door.enter(await door.lease("m1")) is None
    assert fleet.now_us() - before >= 350_000


async def test_a_pause_from_before_the_clock_was_set_back_is_over(fleet: Fleet) -> None:
    """A pause that ends an hour ahead was asked for by nobody."""
    fleet.server.hset(fleet.keys.rate(GROUP.name), "pause_us", fleet.now_us() + 3_600_000_000)
    async with opened(fleet) as door, asyncio.timeout(10):
        assert await door.enter(await door.lease("m1")) is None


async def test_it_is_not_left_alone_for_hours(fleet: Fleet) -> None:
    """An absurd wish counts as a minute."""
    before = fleet.now_us()
    await States(fleet.client, fleet.keys, {"tencent": GROUP}).slow_down("tencent", 86_400.0)
    assert int(fleet.server.hget(fleet.keys.rate(GROUP.name), "pause_us")) - before < 61_000_000


async def test_one_worker_does_not_ask_for_every_throttled_answer(fleet: Fleet) -> None:
    """A storm of throttled answers costs Redis one call of this worker, not one an answer."""
    states = States(fleet.client, fleet.keys, {"tencent": GROUP})
    await states.slow_down("tencent")
    fleet.server.delete(fleet.keys.rate(GROUP.name))
    for _ in range(100):
        await states.slow_down("tencent")
    assert not fleet.server.exists(fleet.keys.rate(GROUP.name))


@pytest.mark.parametrize(
    ("first", "second", "refusal"),
    [
        (True, True, Refusal.DUPLICATE),
        (False, False, Refusal.DUPLICATE),
        (True, False, Refusal.DUPLICATE),
        (False, True, None),
    ],
)
async def test_what_was_delivered_is_not_sent_again(
    fleet: Fleet, first: bool, second: bool, refusal: Refusal | None
) -> None:
    """A second report of a message is a duplicate; only a true may follow a false."""
    async with opened(fleet) as door:
        await fleet.settle(await door.lease("m1", verified=first), Finish(Ending.DELIVERED))
        assert await door.enter(await door.lease("m1", verified=second)) == refusal


async def test_only_the_same_message_is_a_duplicate(fleet: Fleet) -> None:
    """Another message id goes, and the same id of another account."""
    async with opened(fleet) as door:
        await fleet.settle(await door.lease("m1"), Finish(Ending.DELIVERED))
        assert await door.enter(await door.lease("m2")) is None
        assert await door.enter(await door.lease("m1", "alibaba")) is None


@pytest.mark.parametrize("ending", [Ending.SKIPPED, Ending.DUPLICATE, Ending.SHED])
async def test_only_the_delivered_are_remembered(fleet: Fleet, ending: Ending) -> None:
    """An event that ended without being delivered does not keep another from it."""
    async with opened(fleet) as door:
        await fleet.settle(await door.lease("m1"), Finish(ending))
        assert await door.enter(await door.lease("m1")) is None


@pytest.mark.parametrize(("age", "refusal"), [(0, Refusal.DUPLICATE), (2, Refusal.DUPLICATE), (3, None)])
async def test_the_delivered_are_remembered_for_their_time(
    fleet: Fleet, age: int, refusal: Refusal | None
) -> None:
    """An event delivered within the time-to-live is known, in whatever generation; later it is not."""
    async with opened(fleet) as door:
        delivery = await door.lease("m1")
        generation = fleet.server.time()[0] // fleet.remembered.width - age
        key = f"otpreport:done:{generation}:{delivery.fingerprint.bucket}"
        fleet.server.sadd(key, delivery.fingerprint.member(verified=True))
        assert await door.enter(delivery) == refusal


async def test_a_copy_waits_for_the_first_to_end(fleet: Fleet) -> None:
    """Of two copies one is sent; the other may go when the first has failed, and not when it was delivered."""
    async with opened(fleet) as door:
        first, copy = await door.lease("m1"), await door.lease("m1")
        assert await door.enter(first) is None
        assert await door.enter(copy) is Refusal.COPY_IN_FLIGHT
        await fleet.settle(first, Schedule(60.0))
        assert await door.enter(copy) is Refusal.COPY_IN_FLIGHT, "the first waits for another attempt"
        fleet.server.hdel(fleet.keys.taken("tencent"), first.tag)
        assert await door.enter(copy) is None, "its owner is gone"
        assert await door.enter(copy) is None, "it is its own"
        await fleet.settle(copy, Finish(Ending.DELIVERED))
        assert await door.enter(await door.lease("m1")) is Refusal.DUPLICATE


async def test_of_copies_asked_for_together_one_goes(fleet: Fleet) -> None:
    """Copies that one call asks for are told apart as those of two calls are."""
    async with opened(fleet) as door:
        copies = [await door.lease("m1") for _ in range(3)]
        answers = await asyncio.gather(*map(door.enter, copies))
    assert sorted(answers, key=repr) == [Refusal.COPY_IN_FLIGHT, Refusal.COPY_IN_FLIGHT, None]


async def test_without_the_claim_both_copies_go(fleet: Fleet) -> None:
    """It is the claim that keeps the copy back."""
    async with opened(fleet) as door:
        first, copy = await door.lease("m1"), await door.lease("m1")
        alter(
            door.admission, "_script", "limiter/admit.lua", " or claimed_by_another(account, claim, tag)", ""
        )
        assert [await door.enter(first), await door.enter(copy)] == [None, None]


async def test_who_lost_the_lease_does_not_go(fleet: Fleet) -> None:
    """An event that another worker holds by now is not sent by this one."""
    async with opened(fleet) as door:
        delivery = await door.lease("m1")
        fleet.server.smove(fleet.keys.held("w1"), fleet.keys.held("w2"), delivery.tag)
        assert await door.enter(delivery) is Refusal.LEASE_LOST


async def test_without_the_look_at_the_lease_it_would_go_twice(fleet: Fleet) -> None:
    """It is the look at `held` that keeps it back: without it both workers send."""
    async with opened(fleet) as door, opened(fleet, worker="w2") as other:
        for one in (door, other):
            alter(one.admission, "_script", "limiter/admit.lua", "if held == 0 then", "if false then")
        delivery = await door.lease("m1")
        fleet.server.smove(fleet.keys.held("w1"), fleet.keys.held("w2"), delivery.tag)
        assert [await door.enter(delivery), await other.enter(delivery)] == [None, None]


@pytest.mark.parametrize("state", ["held", "stopped", "whatever comes later"])
async def test_nothing_of_a_held_account_goes(fleet: Fleet, state: str) -> None:
    """An event that was leased before its account was held waits; those of other accounts go."""
    async with opened(fleet) as door:
        waiting, other = await door.lease("m1"), await door.lease("m1", "alibaba")
        fleet.set_state(state)
        assert await door.enter(waiting) is Refusal.NOT_RUNNING
        assert await door.enter(other) is None


@pytest.mark.parametrize(
    ("state", "refusal"), [("stopped", None), ("held", Refusal.NOT_RUNNING), ("running", None)]
)
async def test_a_probe_goes_unless_an_operator_holds_the_account(
    fleet: Fleet, state: str, refusal: Refusal | None
) -> None:
    """The probe of a stopped account is let through; an account that an operator holds stays closed."""
    async with opened(fleet) as door:
        fleet.set_state("stopped")
        probe = await door.lease("m1")
        assert probe.leased.probe
        fleet.set_state(state)
        assert await door.enter(probe) is refusal


async def test_a_probe_that_says_false_obeys_the_same_rules(fleet: Fleet) -> None:
    """Also a probe is not sent twice, and a false does not follow a true."""
    async with opened(fleet) as door:
        await fleet.settle(await door.lease("m1"), Finish(Ending.DELIVERED))
        fleet.set_state("stopped")
        probe = await door.lease("m1", verified=False)
        assert await door.enter(probe) is Refusal.DUPLICATE


async def test_a_refusal_costs_no_slot(fleet: Fleet) -> None:
    """Duplicates and copies leave the rate to the events that go."""
    async with opened(fleet) as door:
        await fleet.settle(await door.lease("m1"), Finish(Ending.DELIVERED))
        assert await door.enter(await door.lease("m2")) is None
        before = next_us(fleet)
        assert await door.enter(await door.lease("m1")) is Refusal.DUPLICATE
        assert await door.enter(await door.lease("m2")) is Refusal.COPY_IN_FLIGHT
        assert next_us(fleet) == before


async def test_a_forgotten_script_is_brought_back(fleet: Fleet) -> None:
    """`SCRIPT FLUSH` on the server stops nothing."""
    async with opened(fleet) as door:
        for number in range(3):
            fleet.server.script_flush()
            assert await door.enter(await door.lease(f"m{number}")) is None
        assert door.errors == []


async def test_without_redis_nothing_goes(valkey_server: EmbeddedValkey) -> None:
    """While Redis is away every event waits, and the fault is told; when it is back they go."""
    client = connect(valkey_server.url)
    with redis.Redis(port=valkey_server.port) as server:
        fleet = Fleet(client, server)
        async with opened(fleet) as door:
            delivery = await door.lease("m1")
            valkey_server.stop()
            entering = asyncio.create_task(door.enter(delivery))
            await coming(lambda: door.errors)
            assert not entering.done()
            await asyncio.to_thread(valkey_server.start)
            assert await entering is None
    await client.aclose()


def test_the_judge_of_these_tests_counts_right() -> None:
    """The fullest second is found wherever it begins, and its end is not in it."""
    assert fullest_second([0.0, 0.5, 0.9, 1.0, 1.4, 1.5]) == 4


async def test_since_when_a_group_is_throttled(fleet: Fleet) -> None:
    """It is since the whole rate was left; further answers leave that, the climb back to the whole rate ends it."""
    states, key = States(fleet.client, fleet.keys, {"tencent": GROUP}), fleet.keys.rate(GROUP.name)

    async def throttled() -> int:
        await States(fleet.client, fleet.keys, {"tencent": GROUP}).slow_down("tencent")
        return int(cast("bytes", fleet.server.hget(key, "throttled_ms")))

    await states.slow_down("tencent")
    since = int(cast("bytes", fleet.server.hget(key, "throttled_ms")))
    fleet.server.hset(key, "lowered_us", fleet.now_us() - 1_100_000)  # a second later: the next step down
    assert await throttled() == since
    fleet.server.hset(key, mapping={"lowered_us": fleet.now_us() - 3_600_000_000, "throttled_ms": 1})
    assert await throttled() >= since
