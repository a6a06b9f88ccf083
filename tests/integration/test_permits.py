"""Requests in flight: never more open at the provider than MAX_IN_FLIGHT, and at saturation nearly as many."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from tasks.fleet.snapshot import InFlight, SnapshotReader
from tasks.limiter.admission import RateGroup, Slot
from tests.support.entering import entered
from tests.support.permits import ACCOUNT, FAST, GROUP, Sender, admission, counted, senders, trust
from tests.support.proxy import Proxy
from tests.support.queues import Fleet, alter
from tests.support.redis_servers import debians, needs_debians
from tests.support.wait import coming
from worker.connect import connect
from worker.embedded import EmbeddedValkey


@pytest.fixture(autouse=True)
def short_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a test waits for take a second less."""
    monkeypatch.setattr("tasks.limiter.admission.SLACK", 0.2)


@pytest.fixture(params=["valkey", pytest.param("redis", marks=needs_debians)])
async def either(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Workers on Valkey and on Redis."""
    if request.param == "valkey":
        yield fleet
        return
    with debians(tmp_path) as server, redis.Redis(port=server.port) as looking_on:
        client = connect(server.url)
        yield Fleet(client, looking_on)
        await client.aclose()


async def saturated(
    fleet: Fleet, in_flight: int | None, workers: int = 3, *, seconds: float = 1.0
) -> tuple[int, float]:
    """Return the most requests that were open, and how many on average, of workers that want four times the limit."""
    async with senders(fleet, workers, in_flight) as (door, all_workers):
        for worker in all_workers:
            worker.want(4 * (in_flight or 3))
        await coming(lambda: door.ended > 5)
        began, before = time.monotonic(), door.seconds
        await asyncio.sleep(seconds)
        return door.most, (door.seconds - before) / (time.monotonic() - began)


@pytest.mark.parametrize("limit", [1, 5])
async def test_never_more_and_nearly_as_many(either: Fleet, limit: int) -> None:
    """Three workers at saturation hold to the limit together, and use most of it."""
    trust(either)
    most, average = await saturated(either, limit)
    assert most == limit
    assert average > limit / 4  # on a machine that has time it is more than nine tenths


async def test_without_the_limit_there_are_more(fleet: Fleet) -> None:
    """The control: with the setting off, the same workers have all that they want open."""
    most, _ = await saturated(fleet, None)
    assert most > 5
    assert not fleet.server.exists(fleet.keys.permits(GROUP))


async def test_what_ends_is_given_on_while_others_want_nothing(fleet: Fleet) -> None:
    """A worker whose demand is over leaves its permits to the others, without a request of its own to say so."""
    trust(fleet)
    async with senders(fleet, 2, 4) as (door, (first, second)):
        first.want(8)
        await coming(lambda: first.sent > 8)
        await first.stop_wanting()
        await coming(lambda: counted(fleet, first.worker) == 0)
        second.want(8)
        await coming(lambda: door.now == 4)
        assert door.most == 4


async def test_who_comes_later_gets_its_share(fleet: Fleet) -> None:
    """A worker that has all permits and wants more leaves half of them to the next one that wants some."""
    trust(fleet)
    async with senders(fleet, 2, 4) as (door, (first, second)):
        first.want(20)
        await coming(lambda: first.sent > 20)
        second.want(20)
        await coming(lambda: second.sent > 20)
        before = first.sent, second.sent
        await coming(lambda: first.sent + second.sent > sum(before) + 100)
        assert min(first.sent - before[0], second.sent - before[1]) > 25
        assert door.most == 4


async def test_fewer_permits_than_workers_go_round(fleet: Fleet) -> None:
    """With one permit and three workers each has its turn."""
    trust(fleet)
    async with senders(fleet, 3, 1) as (door, workers):
        for worker in workers:
            worker.want(3)
        await coming(lambda: all(worker.sent > 0 for worker in workers), deadline=30)
        assert door.most == 1


async def killed(fleet: Fleet, *altered: str) -> tuple[Sender, int, float]:
    """Kill a worker with all permits and open requests; return the next one, the most, and when that had sent."""
    trust(fleet)
    async with senders(fleet, 2, 3, latency=0.5, longest=0.5) as (door, (first, second)):
        if altered:
            alter(second.admission, "_script", "limiter/admit.lua", *altered)
            alter(first.admission, "_script", "limiter/admit.lua", *altered)
        first.want(3)
        await coming(lambda: door.now == 3)
        died = time.monotonic()
        await first.die()
        second.want(6)
        await coming(lambda: second.sent >= 3)
        return second, door.most, time.monotonic() - died


async def test_the_permits_of_the_dead_wait_for_their_requests(fleet: Fleet) -> None:
    """What a killed worker had open, on a host that is cut off, counts until its time is over; then others have it."""
    _, most, seconds = await killed(fleet)
    assert most == 3
    assert seconds > 0.5 + 0.2


async def test_given_on_at_once_there_would_be_more(fleet: Fleet) -> None:
    """The control: permits that end with their worker, and the door sees its requests and the next one's together."""
    _, most, _ = await killed(
        fleet, "wanted - granted, now, now + hold, call", "wanted - granted, now, now, call"
    )
    assert most > 3


@pytest.mark.parametrize("how", ["another process", "emptied"])
async def test_a_redis_that_may_have_forgotten_gives_none_at_first(fleet: Fleet, how: str) -> None:
    """After a restart, a fail-over or a loss no request begins until all of before have had their time."""
    most, seconds = await forgotten(fleet, how)
    assert most <= 3
    assert seconds > 0.3


async def test_if_it_gave_them_at_once_there_would_be_more(fleet: Fleet) -> None:
    """The control: a Redis that came back empty knows nothing of what is open."""
    most, _ = await forgotten(fleet, "emptied", "from = now + hold\n", "from = now\n")
    assert most > 3


async def forgotten(fleet: Fleet, how: str, *altered: str) -> tuple[int, float]:
    """Let Redis lose what it knew of a worker with all permits; return the most, and when the next one began."""
    trust(fleet)
    async with senders(fleet, 2, 3, latency=0.5, longest=0.5) as (door, (first, second)):
        if altered:
            alter(second.admission, "_script", "limiter/admit.lua", *altered)
        first.want(3)
        await coming(lambda: door.now == 3)
        key = fleet.keys.permits(GROUP)
        if how == "emptied":
            fleet.server.delete(key)
        else:
            fleet.server.hset(key, "@run", "another")
            fleet.server.hdel(key, first.worker)  # as an older state would have it
        await first.die()
        began = time.monotonic()
        second.want(6)
        await coming(lambda: second.sent > 0)
        return door.most, time.monotonic() - began - 0.5


async def test_a_call_that_was_overtaken_changes_nothing(fleet: Fleet) -> None:
    """A call that Redis gets to late, after a later one of the same worker, grants nothing and does not count anew."""
    trust(fleet)
    async with senders(fleet, 1, 3, latency=0.2) as (door, (worker,)):
        worker.want(3)
        await coming(lambda: door.now == 3)
        key = fleet.keys.permits(GROUP)
        before = fleet.server.hget(key, worker.worker)
        worker.admission._calls = -5  # pyright: ignore[reportPrivateUsage]
        worker.want(3)
        await asyncio.sleep(0.1)
        assert fleet.server.hget(key, worker.worker) == before
        assert door.most == 3


async def test_a_lost_answer_costs_no_permit_for_long(fleet: Fleet, shared_valkey: EmbeddedValkey) -> None:
    """Permits that Redis granted in an answer that was lost come back with the next call; there are never more."""
    trust(fleet)
    with Proxy(shared_valkey.port) as proxy:
        client = connect(proxy.url)
        far = Fleet(client, fleet.server)
        async with senders(far, 1, 4) as (door, (worker,)):
            worker.want(12)
            for least in (20, 40, 60):
                await coming(lambda: worker.sent > least)  # noqa: B023
                proxy.cut()
            await coming(lambda: worker.sent > 100)
            assert door.most == 4
        await client.aclose()


async def test_a_key_that_can_not_be_used_stops_its_group_and_is_told(fleet: Fleet) -> None:
    """A permits key of another type lets nothing go, is named, and when it is gone the group goes on."""
    key = fleet.keys.permits(GROUP)
    fleet.server.set(key, "x")
    async with senders(fleet, 1, 2) as (door, (worker,)):
        worker.want(2)
        await coming(lambda: any(key in fault for fault in worker.faults))
        assert door.most == 0
        fleet.server.delete(key)
        trust(fleet)
        await coming(lambda: worker.sent > 2)


async def test_who_leaves_gives_back(fleet: Fleet) -> None:
    """A worker that stops tells Redis at once that nothing of it is open."""
    trust(fleet)
    async with senders(fleet, 1, 2, latency=0.001) as (_, (worker,)):
        worker.want(2)
        await coming(lambda: worker.sent > 2)
        await worker.close()
        (line,) = worker.admission._limited  # pyright: ignore[reportPrivateUsage]
        await coming(lambda: line.permits is not None and line.permits.open == 0)  # slots that were to come
        await worker.admission.leave()
        assert counted(fleet, worker.worker) == 0


async def test_a_machine_that_slept_begins_nothing_before_it_has_asked_again(fleet: Fleet) -> None:
    """Sleep stops the clock of the slots, so they would still be good; the permits may be another worker's by then."""
    trust(fleet)
    slept = 0.0
    group = RateGroup(GROUP, FAST, 1)
    one = admission(fleet.client, fleet.keys, "w", group, 0.3, boot=lambda: time.monotonic() + slept)
    assert one.awake
    slept = 60.0
    assert not one.awake
    running = asyncio.create_task(one.run())
    fleet.send_many(1)
    (delivery,) = await fleet.take(1, "w")
    assert isinstance(await entered(one, delivery), Slot)
    assert one.awake
    running.cancel()


async def test_the_rate_holds_as_before(fleet: Fleet) -> None:
    """Where the rate is the lower bound, it is the one that counts, and permits are not asked for again and again."""
    trust(fleet)
    async with senders(fleet, 1, 5, latency=0.001, rate=50) as (_, (worker,)):
        worker.want(10)
        await coming(lambda: worker.sent > 3)
        before, began = worker.sent, time.monotonic()
        await asyncio.sleep(1)
        assert worker.sent - before <= 50 * (time.monotonic() - began) + 2


async def test_an_onlooker_sees_what_is_open(fleet: Fleet) -> None:
    """The snapshot has the group's open requests and when it gives permits again; nothing where there is no limit."""
    reader = SnapshotReader(fleet.server, fleet.keys, {ACCOUNT: GROUP, "other": "h"})
    trust(fleet)
    async with senders(fleet, 2, 3, latency=0.5) as (door, workers):
        for worker in workers:
            worker.want(3)
        await coming(lambda: door.now == 3)
        limited, unlimited = reader.read().configured
        assert limited.in_flight == InFlight(3, 0)
        assert unlimited.in_flight is None
    fleet.server.hset(fleet.keys.permits(GROUP), "@from", "5000000")
    found = next(iter(reader.read().configured)).in_flight
    assert found is not None
    assert found.from_ms == 5000


async def test_requests_of_an_old_group_are_over_before_a_new_one_begins(fleet: Fleet) -> None:
    """Groups that change while requests are open: their new name gets no permits until these have had their time."""
    for group in (GROUP, "new"):
        trust(fleet, group)
    async with senders(fleet, 1, 2, latency=0.4, longest=0.4) as (door, (worker,)):
        worker.want(2)
        await coming(lambda: door.now == 2)
        worker.admission.regroup({ACCOUNT: RateGroup("new", FAST, 2)})
        worker.want(2)
        await coming(lambda: worker.sent > 3)
        assert door.most == 2


@pytest.mark.parametrize("groups", [("new", "new"), ("new", GROUP), ("new", "newer", GROUP)])
async def test_groups_may_change_again_at_once(fleet: Fleet, groups: tuple[str, ...]) -> None:
    """A second change, also one back, forgets no request that began before the first."""
    for group in {GROUP, *groups}:
        trust(fleet, group)
    async with senders(fleet, 1, 2, latency=0.4, longest=0.4) as (door, (worker,)):
        worker.want(2)
        await coming(lambda: door.now == 2)
        for group in groups:
            worker.admission.regroup({ACCOUNT: RateGroup(group, FAST, 2)})
        worker.want(2)
        await coming(lambda: worker.sent > 3)
        assert door.most == 2


async def test_a_group_that_stays_keeps_its_count(fleet: Fleet) -> None:
    """What is open still counts after a change of groups, by the limit that holds now."""
    trust(fleet)
    async with senders(fleet, 1, 4, latency=0.3) as (door, (worker,)):
        worker.want(4)
        await coming(lambda: door.now == 4)
        worker.admission.regroup({ACCOUNT: RateGroup(GROUP, FAST, 2)})
        await coming(lambda: door.now <= 2)
        door.most = door.now
        await coming(lambda: worker.sent > 10)
        assert door.most == 2
