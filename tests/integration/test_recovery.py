import asyncio
import time
from collections.abc import Awaitable, Callable

from tasks.dead_letters.letter import Letter
from tasks.delivery import Delivery, read
from tasks.queue.queue import RECOVERED_AT_ONCE, Recovered
from tasks.retry import Reason
from tasks.settlement import Schedule
from tests.support.leased import event, message
from tests.support.queues import Fleet, Places, alter

LEASE_MS = 300
PAGE = 200
"""Records that one call of a sweep looks at."""


async def recovering(
    fleet: Fleet, until: Callable[[Recovered], bool], *, each: Callable[[], Awaitable[object]] | None = None
) -> Recovered:
    """Recover again and again, as a living worker does, until a call's answer fits; and do `each` before."""
    end = time.monotonic() + 30
    while True:
        if each:
            await each()
        found = await fleet.queue("rescuer").recover(["tencent"])
        if until(found):
            return found
        assert time.monotonic() < end, (found, fleet.places())
        await asyncio.sleep(0.01)


async def recovering_for(fleet: Fleet, leases: float, *, each: Callable[[], Awaitable[object]]) -> int:
    """Recover for so many lease periods of Redis' clock; return how many events were taken back."""
    end, taken_back = now_ms(fleet) + leases * LEASE_MS, 0

    def over(found: Recovered) -> bool:
        nonlocal taken_back
        taken_back += found.taken_back + found.orphans
        return now_ms(fleet) >= end

    await recovering(fleet, over, each=each)
    return taken_back


def now_ms(fleet: Fleet) -> float:
    """Return the time of Redis' clock."""
    return fleet.now_us() / 1000


def let_lease_end(fleet: Fleet, worker: str = "w1") -> None:
    """Let a worker have died long ago, with a heartbeat of Redis that has no gap."""
    fleet.server.zadd(fleet.keys.workers, {worker: 1})
    beat(fleet, now_ms(fleet))


def beat(fleet: Fleet, at_ms: float) -> None:
    """Let the last heartbeat have been then, and no grace be left."""
    fleet.server.hset(fleet.keys.maintenance, mapping={"heartbeat_ms": round(at_ms), "grace_until_ms": 0})


async def die_with(fleet: Fleet, worker: str, *, solo: bool = False) -> list[str]:
    """Lease with a worker that dies at once; return the tags it had."""
    batch = await fleet.queue(worker).lease({"tencent": 0 if solo else 100}, solo=solo)
    let_lease_end(fleet, worker)
    await recovering(fleet, lambda _: worker.encode() not in fleet.server.zrange(fleet.keys.workers, 0, -1))
    return [leased.tag for leased in batch.leased]


async def test_a_dead_workers_events_come_back(short_lived: Fleet) -> None:
    """When a worker no longer renews its lease, another worker gets its events, bytes unchanged."""
    fleet = short_lived
    fleet.send_many(3)
    lost = await fleet.take(3)
    found = await recovering(fleet, lambda found: found.taken_back > 0)
    assert found.taken_back == 3
    again = await fleet.take(5, "w2")
    assert {delivery.tag: delivery.leased.raw for delivery in again} == {
        delivery.tag: delivery.leased.raw for delivery in lost
    }
    assert [delivery.leased.deaths for delivery in again] == [1, 1, 1]
    assert fleet.places().balanced
    assert fleet.places().taken == 3


async def test_a_living_workers_events_stay(short_lived: Fleet) -> None:
    """A worker that renews in time keeps what it holds, for longer than any lease."""
    fleet = short_lived
    fleet.send_many(3)
    await fleet.take(3)
    assert await recovering_for(fleet, 4, each=lambda: fleet.queue().lease({})) == 0
    assert fleet.places().held == 3


async def test_only_the_dead_lose_their_events(short_lived: Fleet) -> None:
    """Of two workers one dies: its events alone come back."""
    fleet = short_lived
    fleet.send_many(4)
    await fleet.take(2, "dead")
    alive = {delivery.tag for delivery in await fleet.take(2, "alive")}
    await recovering(fleet, lambda f: f.taken_back > 0, each=lambda: fleet.queue("alive").lease({}))
    assert fleet.held() == {"alive": alive}


async def test_after_a_gap_everybody_may_renew_first(short_lived: Fleet) -> None:
    """When Redis' heartbeat had a gap, nobody's lease is ended for one lease period."""
    fleet = short_lived
    fleet.send_many(1)
    await fleet.take()
    let_lease_end(fleet)
    beat(fleet, now_ms(fleet) - 60_000)
    began = now_ms(fleet)
    await recovering(fleet, lambda found: found.taken_back > 0)
    assert now_ms(fleet) - began >= LEASE_MS


async def test_who_renews_after_a_gap_keeps_its_events(short_lived: Fleet) -> None:
    """Redis was frozen for longer than a lease: the living renew within the grace and lose nothing."""
    fleet = short_lived
    fleet.send_many(1)
    await fleet.take()
    let_lease_end(fleet)
    beat(fleet, now_ms(fleet) - 60_000)
    assert (await fleet.queue("rescuer").recover(["tencent"])).taken_back == 0
    assert await recovering_for(fleet, 3, each=lambda: fleet.queue().lease({})) == 0
    assert fleet.places().held == 1


async def test_without_the_grace_the_living_lose_their_events(short_lived: Fleet) -> None:
    """It is the grace that protects them: without it the first look after the gap takes everything."""
    fleet = short_lived
    alter(
        fleet.queue("rescuer"), "_recover_script", "queue/recover.lua", "if now < grace then", "if false then"
    )
    fleet.send_many(1)
    await fleet.take()
    let_lease_end(fleet)
    beat(fleet, now_ms(fleet) - 60_000)
    assert (await fleet.queue("rescuer").recover(["tencent"])).taken_back == 1


async def test_a_clock_set_back_is_a_gap(short_lived: Fleet) -> None:
    """A heartbeat in the future means that Redis' clock was set: a new grace begins, and it ends."""
    fleet = short_lived
    fleet.send_many(1)
    await fleet.take()
    let_lease_end(fleet)
    future = round(now_ms(fleet) + 3_600_000)
    fleet.server.hset(fleet.keys.maintenance, mapping={"heartbeat_ms": future, "grace_until_ms": future})
    assert (await fleet.queue("rescuer").recover(["tencent"])).taken_back == 0
    assert (await recovering(fleet, lambda found: found.taken_back > 0)).taken_back == 1


async def test_who_died_before_the_clock_was_set_back_is_dead(short_lived: Fleet) -> None:
    """A lease that ends an hour ahead is nobody's: the living renew theirs all the time."""
    fleet = short_lived
    fleet.send_many(4)
    dead, living = await fleet.take(2, "dead"), await fleet.take(2, "living")
    fleet.server.zadd(fleet.keys.workers, {"dead": now_ms(fleet) + 3_600_000})
    beat(fleet, now_ms(fleet))
    await recovering(
        fleet, lambda _: not fleet.held().get("dead"), each=lambda: fleet.queue("living").lease({})
    )
    assert len(dead) == 2
    assert len(fleet.held()["living"]) == len(living) == 2


async def test_many_events_come_back_in_portions(short_lived: Fleet) -> None:
    """One call takes back a bounded number and says that there is more."""
    fleet = short_lived
    number = 2 * RECOVERED_AT_ONCE + 50
    fleet.send_many(number)
    while await fleet.take(number):
        pass
    let_lease_end(fleet)
    first = await recovering(fleet, lambda found: found.taken_back > 0)
    assert (first.taken_back, first.more) == (RECOVERED_AT_ONCE, True)
    second = await fleet.queue("rescuer").recover(["tencent"])
    third = await fleet.queue("rescuer").recover(["tencent"])
    assert (second.taken_back, third.taken_back, third.more) == (RECOVERED_AT_ONCE, 50, False)
    assert fleet.places().balanced


async def test_after_two_deaths_an_event_is_leased_alone(short_lived: Fleet) -> None:
    """The second death makes suspects: no ordinary lease gives them, and a solitary one gives one at a time."""
    fleet = short_lived
    fleet.send_many(3)
    await die_with(fleet, "a")
    assert fleet.places().scheduled == 3
    await die_with(fleet, "b")
    assert fleet.places().suspects == 3
    fleet.send_many(1)
    ordinary = await fleet.queue("w1").lease({"tencent": 100})
    assert [leased.deaths for leased in ordinary.leased] == [0]
    assert ordinary.suspects == 3
    alone = await fleet.queue("w2").lease({"tencent": 0, "alibaba": 0}, solo=True)
    assert [leased.deaths for leased in alone.leased] == [2]
    assert fleet.places().balanced


async def test_only_solitary_deaths_make_poison(short_lived: Fleet) -> None:
    """Two deaths in company and three alone: then the event is a dead letter, unread. One fewer, and it goes."""
    fleet = short_lived
    fleet.send(event("poison"))
    for worker in "abcd":
        await die_with(fleet, worker, solo=worker in "cd")
    again = await fleet.queue("w1").lease({"tencent": 0}, solo=True)
    assert isinstance(read(again.leased[0], now_ms=0), Delivery)
    let_lease_end(fleet, "w1")
    found = await recovering(fleet, lambda found: found.taken_back == 1)
    ((leased, buried),) = found.buried
    assert (leased.account, leased.tag, buried.reason) == ("tencent", again.leased[0].tag, Reason.POISON)
    assert fleet.places() == Places(0, 1, 0, 1, 0, 0, 0, 0)
    record = fleet.server.hget(fleet.keys.dead("tencent"), leased.tag)
    letter = Letter.parse("tencent", leased.tag, 1, record, whole=True)
    assert (letter.reason, letter.story["deaths"], letter.raw) == ("poison", 5, again.leased[0].raw)


async def test_a_claim_of_nobody_is_let_go(short_lived: Fleet) -> None:
    """What was buried unread leaves its message id taken; that of an event which is there stays."""
    fleet = short_lived
    fleet.send(event("m"))
    (one,) = await fleet.take()
    claims = {one.fingerprint.claim: one.tag, "1:1": "tencent:gone:1"}
    fleet.server.hset(fleet.keys.claims, mapping=claims)
    await recovering(fleet, lambda _: fleet.server.hlen(fleet.keys.claims) < len(claims))
    assert fleet.server.hkeys(fleet.keys.claims) == [one.fingerprint.claim.encode()]


async def test_an_older_workers_poison_is_buried_when_it_would_be_leased(short_lived: Fleet) -> None:
    """A record with three solitary deaths is given to nobody, whoever counted them."""
    fleet = short_lived
    fleet.send(event("poison"))
    for worker in "ab":
        await die_with(fleet, worker)
    ((tag, record),) = fleet.server.hgetall(fleet.keys.taken("tencent")).items()
    fleet.server.hset(fleet.keys.taken("tencent"), tag, record.replace(b"2 0 ", b"5 3 ", 1))
    batch = await fleet.queue("w1").lease({"tencent": 0}, solo=True)
    assert batch.leased == []
    assert [buried.reason for _, buried in batch.buried] == [Reason.POISON]
    assert fleet.places() == Places(0, 1, 0, 1, 0, 0, 0, 0)


async def test_a_crash_loop_of_another_cause_kills_no_innocent(short_lived: Fleet) -> None:
    """Workers that die again and again with whatever they hold make suspects, and no poison."""
    fleet = short_lived
    fleet.send_many(5)
    for turn in range(12):
        await die_with(fleet, f"ordinary-{turn}")
    assert fleet.places().suspects == 5
    for _ in range(5):
        (leased,) = (await fleet.queue("w1").lease({"tencent": 0}, solo=True)).leased
        assert (leased.deaths, leased.solitary_deaths) == (2, 0)
        await fleet.settle(leased, Schedule(60.0, leased.record(leased.history)))


async def test_a_suspect_handed_back_unread_stays_one(short_lived: Fleet) -> None:
    """Where the reply of a solitary lease was lost, the event does not get into company."""
    fleet = short_lived
    fleet.send_many(1)
    await die_with(fleet, "a")
    await die_with(fleet, "b")
    (leased,) = (await fleet.queue("w1").lease({"tencent": 0}, solo=True)).leased
    await fleet.settle(leased, Schedule(0.0))
    assert (await fleet.queue("w1").lease({"tencent": 10})).leased == []
    assert fleet.places().suspects == 1


async def test_nobody_makes_room_for_suspects_that_may_not_go(short_lived: Fleet) -> None:
    """The suspects of a held account are not announced: else every worker would wait for them in vain."""
    fleet = short_lived
    fleet.send_many(1)
    await die_with(fleet, "a")
    await die_with(fleet, "b")
    fleet.set_state("held")
    assert (await fleet.queue("w1").lease({"tencent": 1})).suspects == 0
    assert (await fleet.queue("w1").lease({"tencent": 0}, solo=True)).leased == []
    fleet.set_state("running")
    assert (await fleet.queue("w1").lease({"tencent": 1})).suspects == 1


async def test_a_record_that_nobody_wrote_stops_no_recovery(short_lived: Fleet) -> None:
    """Bytes in the place of a record come back as they are, and those beside them come back, too."""
    fleet = short_lived
    fleet.send_many(3)
    held = await fleet.take(3)
    fleet.server.hset(fleet.keys.taken("tencent"), held[1].tag, b"\x00 what is this")
    let_lease_end(fleet)
    assert (await recovering(fleet, lambda found: found.taken_back > 0)).taken_back == 3
    batch = await fleet.queue("w2").lease({"tencent": 5})
    assert sorted(leased.raw == b"\x00 what is this" for leased in batch.leased) == [False, False, True]


async def test_a_lost_index_is_found_again(short_lived: Fleet) -> None:
    """Events whose index key is gone stand in no place; after a lease period they are scheduled again."""
    fleet = short_lived
    await fill_every_place(fleet)
    keys = fleet.keys
    fleet.server.delete(keys.scheduled("tencent"), keys.suspects("tencent"), keys.held("w1"))
    began = now_ms(fleet)
    found = await recovering(fleet, lambda found: found.orphans > 0)
    assert found.orphans == 3
    assert now_ms(fleet) - began >= LEASE_MS
    assert fleet.places().balanced
    await recovering(fleet, lambda found: not found.more)
    assert not [field for field in fleet.server.hkeys(keys.maintenance) if b"sweep" in field]


async def fill_every_place(fleet: Fleet) -> None:
    """Let w1 hold an event, one wait for another attempt, and one be a suspect."""
    fleet.send_many(3)
    held, waiting, suspect = await fleet.take(3)
    await fleet.settle(waiting, Schedule(60.0))
    fleet.server.srem(fleet.keys.held("w1"), suspect.tag)
    fleet.server.zadd(fleet.keys.suspects("tencent"), {suspect.tag: 1})
    assert fleet.places().held == 1, held


async def test_what_stands_somewhere_is_no_orphan(short_lived: Fleet) -> None:
    """A sweep for one lost event leaves all others where they are."""
    fleet = short_lived
    await fill_every_place(fleet)
    fleet.server.hset(fleet.keys.taken("tencent"), "tencent:gone:1", b"0 0 5\n\n" + message())
    await recovering(fleet, lambda found: found.orphans > 0, each=lambda: fleet.queue().lease({}))
    places = fleet.places()
    assert (places.held, places.scheduled, places.suspects) == (1, 2, 1)


async def test_a_sweep_comes_to_its_end(short_lived: Fleet) -> None:
    """Accounts of different size are each looked through once, not until all end in the same call."""
    fleet = short_lived
    sizes = {"a": 3 * PAGE, "b": 7 * PAGE, "c": 5 * PAGE}
    for account, size in sizes.items():
        fleet.server.hset(
            fleet.keys.taken(account), mapping={f"{account}:gone:{n}": b"0 0 5\n\n{}" for n in range(size)}
        )
    beat(fleet, now_ms(fleet))
    calls = orphans = 0
    end = time.monotonic() + 30
    while orphans < sum(sizes.values()):
        found = await fleet.queue().recover(list(sizes))
        orphans, calls = orphans + found.orphans, calls + found.more
        assert time.monotonic() < end
        if not found.more:
            await asyncio.sleep(0.01)
    assert calls <= 2 * sum(sizes.values()) / PAGE + 10
    for account, size in sizes.items():
        assert fleet.server.zcard(fleet.keys.scheduled(account)) == size


async def test_workers_of_other_accounts_hide_no_orphan(short_lived: Fleet) -> None:
    """Each choice of accounts is counted for itself: one that balances does not calm another that does not."""
    fleet = short_lived
    fleet.server.hset(fleet.keys.taken("alibaba"), "alibaba:gone:1", b"0 0 5\n\n{}")
    beat(fleet, now_ms(fleet))
    end = time.monotonic() + 30
    while not (await fleet.queue("w2").recover(["alibaba"])).orphans:
        await fleet.queue("w1").recover(["tencent"])
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert fleet.server.zcard(fleet.keys.scheduled("alibaba")) == 1


async def test_what_others_hold_is_no_imbalance(short_lived: Fleet) -> None:
    """A worker that serves one account does not take another account's leases for a fault of its own."""
    fleet = short_lived
    fleet.send_many(2, "alibaba")
    await fleet.take(2, "w2", "alibaba")
    beat(fleet, now_ms(fleet))
    await recovering(
        fleet,
        lambda _: bool(fleet.server.hexists(fleet.keys.maintenance, "counted_ms:tencent")),
        each=lambda: fleet.queue("w2").lease({}),
    )
    assert not fleet.server.hexists(fleet.keys.maintenance, "unbalanced_since_ms:tencent")


async def scheduled(fleet: Fleet, *settlements: Schedule) -> list[str]:
    """Lease and settle so many events; return their tags."""
    fleet.send_many(len(settlements))
    taken = await fleet.take(len(settlements))
    for delivery, settlement in zip(taken, settlements, strict=True):
        await fleet.settle(delivery, settlement)
    return [delivery.tag for delivery in taken]


def due(fleet: Fleet) -> dict[str, float]:
    """Return the schedule: when each event is due, in ms."""
    rows = fleet.server.zrange(fleet.keys.scheduled("tencent"), 0, -1, withscores=True)
    return {tag.decode(): score for tag, score in rows}


async def test_the_schedule_tells_an_eta_from_a_retry(fleet: Fleet) -> None:
    """By half a ms: a worker of before reads it as any time; so does a retry that a provider named a late time for."""
    tags = await scheduled(fleet, Schedule(200), Schedule(200, eta=True), Schedule(3600))
    assert [due(fleet)[tag] % 1 for tag in tags] == [0, 0.5, 0.5]


async def test_a_retry_that_redis_clock_stranded_is_due(short_lived: Fleet) -> None:
    """It lies further ahead than any retry can: Redis' clock went back. What somebody named a time for stays."""
    fleet = short_lived
    retry, far_retry, eta = await scheduled(fleet, Schedule(200), Schedule(200), Schedule(7200, eta=True))
    fleet.server.zadd(fleet.keys.scheduled("tencent"), {far_retry: round(now_ms(fleet)) + 3_600_000})
    before = due(fleet)
    beat(fleet, now_ms(fleet))
    await recovering(fleet, lambda _: due(fleet)[far_retry] <= now_ms(fleet))
    assert {tag: due(fleet)[tag] for tag in (retry, eta)} == {tag: before[tag] for tag in (retry, eta)}
    assert [delivery.tag for delivery in await fleet.take(3)] == [far_retry]


async def test_a_stranded_retry_is_found_among_many_etas(short_lived: Fleet) -> None:
    """A call looks at a page of what is far ahead, and the next one at the next."""
    fleet = short_lived
    [tag] = await scheduled(fleet, Schedule(200))
    far = round(now_ms(fleet)) + 3_600_000
    etas = {f"tencent:eta:{n}": far + n + 0.5 for n in range(450)}
    fleet.server.zadd(fleet.keys.scheduled("tencent"), {**etas, tag: far + 449})
    beat(fleet, now_ms(fleet))
    await recovering(fleet, lambda _: due(fleet)[tag] <= now_ms(fleet))
    assert {name: due(fleet)[name] for name in etas} == etas
    page = "far:tencent:tencent"
    await recovering(fleet, lambda _: not fleet.server.hexists(fleet.keys.maintenance, page))


async def test_without_the_look_it_stays_stranded(short_lived: Fleet) -> None:
    """The control: nothing else lets it go."""
    fleet = short_lived
    alter(
        fleet.queue("rescuer"), "_recover_script", "queue/recover.lua", "let_stranded_go(account) end", "end"
    )
    [tag] = await scheduled(fleet, Schedule(200))
    fleet.server.zadd(fleet.keys.scheduled("tencent"), {tag: round(now_ms(fleet)) + 3_600_000})
    assert await recovering_for(fleet, 2, each=lambda: fleet.queue().lease({})) == 0
    assert due(fleet)[tag] > now_ms(fleet)


async def test_what_is_shed_need_not_be_due(fleet: Fleet) -> None:
    """An account's retries and etas are dropped with the rest; while it runs they wait."""
    await scheduled(fleet, Schedule(200), Schedule(10**9, eta=True))
    assert await fleet.take(5) == []
    fleet.set_state("shed")
    assert len(await fleet.take(5)) == 2


async def test_a_clock_that_was_set_back_spares_the_living(short_lived: Fleet) -> None:
    """A heartbeat that lies ahead is a gap: a lease that seems to have ended is not ended for one lease period.

    The control: without it the first look takes everything.
    """
    for altered, taken_back in ((False, 0), (True, 1)):
        fleet = short_lived
        fleet.server.flushdb()
        rescuer = f"rescuer-{altered}"
        if altered:
            alter(
                fleet.queue(rescuer),
                "_recover_script",
                "queue/recover.lua",
                " or heartbeat > now then",
                " then",
            )
        fleet.send_many(1)
        assert len(await fleet.take()) == 1
        fleet.server.zadd(fleet.keys.workers, {"w1": 1})
        beat(fleet, now_ms(fleet) + 3_600_000)
        assert (await fleet.queue(rescuer).recover(["tencent"])).taken_back == taken_back
