"""The circuit breaker in Redis: what opens it, what closes it again, and how the account comes back."""

import math
import time

import pytest

from providers import Outcome, Result
from tasks.accounts.states import STORED, State, States
from tasks.delivery import Delivery
from tasks.fleet.operation import Operation
from tasks.limiter.admission import RateGroup
from tasks.queue.breaker import Breaker, CallBucket, CallBuckets, Calls, call_arguments
from tasks.queue.queue import Queue
from tasks.settlement import Schedule
from tests.support.queues import Fleet, alter

FAILED = Outcome(Result.TRANSIENT, "InternalError")
GOOD = Outcome(Result.DELIVERED)
LIMIT = 1000


def calls(
    *,
    failed: int = 0,
    good: int = 0,
    unsent: int = 0,
    began: float = 0.0,
    ended: float = 0.0,
    fresh: int | None = None,
) -> CallBuckets:
    """Return calls that began and ended so many seconds ago, on average; those `unsent` are failed ones, too."""
    now, bad = time.monotonic(), failed + unsent
    code = "InternalError" if failed else "not_sent" if unsent else ""
    group = CallBucket(bad + good, bad, bad if fresh is None else fresh, code, unsent, failed + good)
    return {("tencent", math.ceil(now - began), math.ceil(now - ended)): group}


async def settle(queue: Queue, groups: CallBuckets) -> None:
    """Let a worker settle nothing, and tell of calls."""
    await queue.settle([], queue.next_call(), groups)


async def tell(
    fleet: Fleet, *, failed: int = 0, good: int = 0, worker: str = "w1", fresh: int | None = None
) -> None:
    """Let a worker tell of calls that ended just now."""
    await settle(fleet.queue(worker), calls(failed=failed, good=good, fresh=fresh))


async def fail_to_send(fleet: Fleet, number: int, worker: str) -> bool:
    """Let a worker tell of calls that never left; return whether it hears that others have answers."""
    queue = fleet.queue(worker)
    await settle(queue, calls(unsent=number))
    return "tencent" in queue.alone


def states(fleet: Fleet) -> States:
    """Return the states as a worker sees them."""
    return States(fleet.client, fleet.keys, {"tencent": RateGroup("tencent", LIMIT)})


async def state(fleet: Fleet) -> State:
    """Return the account's state."""
    return (await states(fleet).read())["tencent"]


async def test_half_of_twenty_calls_open_it(fleet: Fleet) -> None:
    """The calls of all workers count together; fewer than twenty, or a smaller share, do not."""
    await tell(fleet, failed=9, good=1)
    assert (await state(fleet)).name == "running"
    await tell(fleet, good=9, worker="w2")
    await tell(fleet, failed=1)
    assert (await state(fleet)).name == "circuit_open"
    assert (await state(fleet)).code == "InternalError"
    assert (await state(fleet)).message == "10 of the last 20 calls failed or were slow"


async def test_less_than_half_leaves_it_closed(fleet: Fleet) -> None:
    """A provider that fails now and then is not away."""
    for _ in range(10):
        await tell(fleet, failed=4, good=6)
    assert (await state(fleet)).name == "running"


async def test_the_settings_decide(fleet: Fleet) -> None:
    """Share and least number are the operator's."""
    strict = Breaker(failures=0.1, calls=5)
    queue = Queue(fleet.client, fleet.keys, "w9", lease=30.0, remembered=fleet.remembered, breaker=strict)
    await settle(queue, calls(failed=1, good=5))
    assert (await state(fleet)).name == "circuit_open"


async def test_it_can_be_switched_off(fleet: Fleet) -> None:
    """With no least number of calls it never opens."""
    queue = Queue(
        fleet.client, fleet.keys, "w9", lease=30.0, remembered=fleet.remembered, breaker=Breaker(calls=0)
    )
    await settle(queue, calls(failed=60))
    assert (await state(fleet)).name == "running"


async def test_old_calls_do_not_count(fleet: Fleet) -> None:
    """Failures of more than ten seconds ago are forgotten."""
    await tell(fleet, failed=15, good=1)
    window = fleet.keys.breaker("tencent")
    for slot, value in fleet.server.hgetall(window).items():
        if slot.isdigit():
            second, counts = value.split(b" ", 1)
            old = int(second) - 13  # its place is none that the next call overwrites
            fleet.server.hdel(window, slot)
            fleet.server.hset(window, str(old % 10), b"%d %b" % (old, counts))
    await tell(fleet, failed=5, good=1)
    assert (await state(fleet)).name == "running"


async def test_a_run_of_failures_opens_a_quiet_account(fleet: Fleet) -> None:
    """An account with few calls is not left to use up its attempts; but a blip of a moment is no outage."""
    await tell(fleet, failed=6)
    assert (await state(fleet)).name == "running"
    fleet.server.hincrby(fleet.keys.breaker("tencent"), "run_ms", -3000)
    await tell(fleet, failed=1)
    assert (await state(fleet)).message == "7 calls in a row failed"


async def test_one_machine_without_a_way_out_opens_nothing(fleet: Fleet) -> None:
    """What never left a worker counts only when no other worker reaches the provider; and the worker is told."""
    await tell(fleet, good=1, worker="good")
    for _ in range(5):
        assert await fail_to_send(fleet, 50, "bad")
    assert (await state(fleet)).name == "running"
    await tell(fleet, failed=19, good=1, worker="good")
    assert (await state(fleet)).name == "circuit_open", "what the provider says of itself counts as ever"


async def test_without_that_look_one_machine_stops_all(fleet: Fleet) -> None:
    """It is what the other worker had that keeps the breaker closed: the old rule opens it."""
    await tell(fleet, good=1, worker="good")
    alter(
        fleet.queue("bad"),
        "_settle_script",
        "queue/settle.lua",
        "if ago and ago < WINDOW * 1000 then",
        "if false then",
    )
    await fail_to_send(fleet, 50, "bad")
    assert (await state(fleet)).name == "circuit_open"


async def test_a_fleet_of_one_is_everybody(fleet: Fleet) -> None:
    """Where no other worker tried, what never leaves is an outage like any other."""
    await tell(fleet, good=5, worker="only")
    assert not await fail_to_send(fleet, 30, "only")
    assert (await state(fleet)).name == "circuit_open"
    assert (await state(fleet)).code == "not_sent"


async def test_a_fleet_of_one_that_gets_through_in_part(fleet: Fleet) -> None:
    """Its own answers are nobody else's: what does not leave it counts all the same."""
    await settle(fleet.queue("only"), calls(unsent=30, good=1))
    assert (await state(fleet)).name == "circuit_open"


async def test_when_every_worker_fails_it_opens_at_once(fleet: Fleet) -> None:
    """An answer proves nothing any more once the worker that had it can't get out either."""
    for worker in ("w1", "w2", "w3"):
        await tell(fleet, good=10, worker=worker)
    assert await fail_to_send(fleet, 20, "w1")
    assert await fail_to_send(fleet, 20, "w2")
    assert (await state(fleet)).name == "running"
    assert not await fail_to_send(fleet, 40, "w3")
    assert (await state(fleet)).name == "circuit_open"


@pytest.mark.parametrize(
    ("ago", "alone", "name"), [(9, True, "running"), (11, True, "circuit_open"), (61, False, "circuit_open")]
)
async def test_an_answer_proves_something_for_a_while(fleet: Fleet, ago: int, alone: bool, name: str) -> None:
    """The breaker looks back ten seconds; a worker takes itself for the odd one out for a minute."""
    await tell(fleet, good=1, worker="good")
    fleet.server.zincrby(fleet.keys.reached("tencent"), -1000 * ago, "good")
    assert await fail_to_send(fleet, 40, "bad") is alone
    assert (await state(fleet)).name == name


async def test_a_worker_that_gets_through_in_part_is_not_alone(fleet: Fleet) -> None:
    """It goes on; what did not leave speaks for itself, not against the account."""
    await tell(fleet, good=1, worker="good")
    queue = fleet.queue("half")
    for _ in range(5):
        await settle(queue, calls(unsent=30, good=1))
        assert not queue.alone
    assert (await state(fleet)).name == "running"


async def test_who_reached_a_provider_is_forgotten(fleet: Fleet) -> None:
    """However many workers come and go: those of a minute ago are dropped, and the key expires."""
    for number in range(20):
        await tell(fleet, good=1, worker=f"w{number}")
        fleet.server.zincrby(fleet.keys.reached("tencent"), -61_000, f"w{number}")
    assert fleet.server.zcard(fleet.keys.reached("tencent")) <= 2
    assert fleet.server.ttl(fleet.keys.reached("tencent")) > 0


async def probe(fleet: Fleet, worker: str) -> Delivery | None:
    """Return the probe that a worker gets now, if any."""
    return next(iter(await fleet.take(1, worker)), None)


async def test_probes_go_round_the_workers(fleet: Fleet) -> None:
    """A worker whose probe could not leave is not the next while another one lives, which may try soon."""
    fleet.send_many(5)
    for worker in ("bad", "good"):
        await fleet.queue(worker).lease({})
    await opened(fleet)
    first = await probe(fleet, "bad")
    assert first
    first.sending = True
    await fleet.settle(first, Schedule(60.0, unsent=True), "bad")
    key = fleet.keys.account("tencent")
    assert int(fleet.server.hget(key, "probe_at_ms")) - fleet.now_us() / 1000 < 1500
    fleet.server.hset(key, "probe_at_ms", fleet.now_us() // 1000)
    assert await probe(fleet, "bad") is None
    second = await probe(fleet, "good")
    assert second
    second.sending = True
    await fleet.settle(second, Schedule(60.0, unsent=True), "good")
    assert int(fleet.server.hget(key, "probe_at_ms")) - fleet.now_us() / 1000 > 2500, "nobody is left"
    fleet.server.hset(key, "probe_at_ms", fleet.now_us() // 1000 - 2000)
    assert await probe(fleet, "bad"), "who is the only one to ask has his turn"


async def test_without_the_turn_the_same_worker_probes(fleet: Fleet) -> None:
    """The control: what keeps it back is that its last probe could not leave."""
    fleet.send_many(5)
    await fleet.queue("good").lease({})
    alter(fleet.queue("bad"), "_lease_script", "queue/lease.lua", "or goes_later(account, state)", "")
    await opened(fleet)
    first = await probe(fleet, "bad")
    assert first
    first.sending = True
    await fleet.settle(first, Schedule(60.0, unsent=True), "bad")
    fleet.server.hset(fleet.keys.account("tencent"), "probe_at_ms", fleet.now_us() // 1000)
    assert await probe(fleet, "bad")


async def test_one_event_alone_opens_nothing(fleet: Fleet) -> None:
    """An event that its provider never answers uses up its attempts; it takes two to speak against the account."""
    await tell(fleet, failed=1)
    fleet.server.hincrby(fleet.keys.breaker("tencent"), "run_ms", -60_000)
    for _ in range(9):
        await tell(fleet, failed=1, fresh=0)
    assert (await state(fleet)).name == "running"
    await tell(fleet, failed=1)
    assert (await state(fleet)).name == "circuit_open"


async def test_calls_that_redis_hears_of_late_open_nothing(fleet: Fleet) -> None:
    """A host without a network fails for a while and can't tell; what it tells in the end is over."""
    await settle(fleet.queue(), calls(failed=300, began=700.0, ended=600.0))
    assert (await state(fleet)).name == "running"
    await settle(fleet.queue(), calls(failed=19, began=5.0, ended=5.0))
    assert (await state(fleet)).name == "running"
    await settle(fleet.queue(), calls(failed=1))
    assert (await state(fleet)).name == "circuit_open", "of the last ten seconds"


async def test_calls_that_redis_hears_of_late_begin_no_run(fleet: Fleet) -> None:
    """Nor are they the beginning of a run that one more failure ends, a while after Redis is back."""
    await settle(fleet.queue(), calls(failed=300, began=700.0, ended=600.0))
    fleet.server.hincrby(fleet.keys.breaker("tencent"), "run_ms", -60_000)
    await tell(fleet, failed=1)
    assert (await state(fleet)).name == "running"


async def test_one_success_ends_the_run(fleet: Fleet) -> None:
    """Calls that fail between others that do not are no outage."""
    for _ in range(3):
        await tell(fleet, failed=3)
        fleet.server.hincrby(fleet.keys.breaker("tencent"), "run_ms", -60_000)
        await tell(fleet, good=1)
        await tell(fleet, good=9)
    assert (await state(fleet)).name == "running"


async def test_a_settle_that_is_sent_twice_counts_once(fleet: Fleet) -> None:
    """A call without an answer is sent again as it was: its failures are not counted again."""
    queue = fleet.queue()
    number = queue.next_call()
    for _ in range(2):
        await queue.settle([], number, calls(failed=12))
    assert (await state(fleet)).name == "running"


async def test_a_hand_is_stronger(fleet: Fleet) -> None:
    """What an operator holds back or drops stays so, whatever fails."""
    for stored in ("held", "shed", "stopped"):
        fleet.set_state(stored)
        await tell(fleet, failed=40)
        assert (await state(fleet)).name == STORED[stored]


async def opened(fleet: Fleet) -> None:
    """Open the breaker, its first probe due at once."""
    await tell(fleet, failed=20)
    fleet.server.hset(fleet.keys.account("tencent"), "probe_at_ms", 0)


async def test_open_gives_one_probe_at_a_time(fleet: Fleet) -> None:
    """The list is not read but for the probe; until that ended there is no other, however late it is."""
    fleet.send_many(30)
    await opened(fleet)
    probes = [leased for n in range(4) for leased in await fleet.take(10, worker=f"w{n}")]
    assert len(probes) == 1
    assert probes[0].leased.probe
    fleet.server.hset(fleet.keys.account("tencent"), "probe_at_ms", 0)
    assert not await fleet.take(10)
    await fleet.settle(probes[0], Schedule(60.0), "w0")
    assert len(await fleet.take(10)) == 1


async def test_without_that_look_probes_pile_up(fleet: Fleet) -> None:
    """It is the look at the last probe that keeps a second one back."""
    fleet.send_many(30)
    await opened(fleet)
    queue = fleet.queue()
    alter(queue, "_lease_script", "queue/lease.lua", "or is_leased(account, state[3])", "")
    for _ in range(3):
        assert len(await fleet.take(10)) == 1
        fleet.server.hset(fleet.keys.account("tencent"), "probe_at_ms", 0)


async def test_a_probe_that_was_never_sent_is_followed_at_once(fleet: Fleet) -> None:
    """A message for later, or one that was handed back, says nothing of the provider."""
    fleet.send_many(3)
    await opened(fleet)
    (probe,) = await fleet.take()
    await fleet.settle(probe, Schedule(3600.0))
    (probe,) = await fleet.take()
    probe.sending = True
    await fleet.settle(probe, Schedule(3600.0))
    assert not await fleet.take()


async def test_a_long_outage_is_probed_less_often(fleet: Fleet) -> None:
    """A quarter of its time lies between two probes, at least the interval and at most a minute."""
    fleet.send_many(3)
    await opened(fleet)
    key = fleet.keys.account("tencent")
    pauses: list[float] = []
    for lasted in (0, 100, 7200):
        now = fleet.now_us() // 1000
        fleet.server.hset(key, mapping={"probe_at_ms": 0, "since_ms": now - lasted * 1000})
        (probe,) = await fleet.take()
        pauses.append(round((int(fleet.server.hget(key, "probe_at_ms")) - now) / 1000))
        probe.sending = True
        await fleet.settle(probe, Schedule(3600.0))
    assert pauses == [5, 25, 60]


async def test_a_clock_that_was_set_back_stops_nothing(fleet: Fleet) -> None:
    """A new master whose clock is an hour behind: the account is probed, the breaker counts."""
    fleet.send_many(1)
    await opened(fleet)
    hour = fleet.now_us() // 1000 + 3_600_000
    fleet.server.hset(fleet.keys.account("tencent"), "probe_at_ms", hour)
    assert len(await fleet.take()) == 1
    fleet.server.delete(fleet.keys.account("tencent"))
    fleet.server.hset(fleet.keys.account("tencent"), mapping={"resumed_ms": hour, "ramp_rate": LIMIT})
    assert (await state(fleet)).name == "running"
    await tell(fleet, failed=20)
    assert (await state(fleet)).name == "circuit_open"


async def test_a_refusal_from_before_stops_nothing(fleet: Fleet) -> None:
    """An operator who fixed the keys and resumed is not undone by a request signed with the old ones."""
    Operation(fleet.server, fleet.keys).resume("tencent")
    refused = Outcome(Result.ACCOUNT, "AuthFailure")
    await states(fleet).stop("tencent", refused, 5.0)
    assert (await state(fleet)).name == "running"
    fleet.server.hincrby(fleet.keys.account("tencent"), "resumed_ms", -10_000)
    await states(fleet).stop("tencent", refused, 5.0)
    assert (await state(fleet)).name == "refused"


@pytest.mark.parametrize("stored", ["held", "shed"])
async def test_a_refusal_undoes_no_hand(fleet: Fleet, stored: str) -> None:
    """An account that an operator holds or sheds stays so, whatever the answer to a request that was under way."""
    fleet.set_state(stored)
    await states(fleet).stop("tencent", Outcome(Result.ACCOUNT, "AuthFailure"), 0.0)
    assert await state(fleet) == State(STORED[stored])


async def test_a_worker_that_starts_does_not_close_it(fleet: Fleet) -> None:
    """The state is in Redis: new workers, their leases and settles find it and leave it."""
    await opened(fleet)
    newcomer = fleet.new_queue("new")
    await newcomer.lease({"tencent": 10})
    await settle(newcomer, calls(good=50))
    assert (await state(fleet)).name == "circuit_open"


@pytest.mark.parametrize("delivered", [True, False])
async def test_an_answered_probe_closes_it(fleet: Fleet, delivered: bool) -> None:
    """Whatever the provider said, it is there again; the account comes back slowly."""
    await opened(fleet)
    await states(fleet).resume("tencent", delivered=delivered)
    assert (await state(fleet)).name == "recovering"


async def test_a_stopped_account_needs_a_delivery(fleet: Fleet) -> None:
    """An answer that takes nothing proves no key right; a delivery does, and needs no ramp."""
    fleet.set_state("stopped")
    await states(fleet).resume("tencent", delivered=False)
    assert (await state(fleet)).name == "refused"
    await states(fleet).resume("tencent", delivered=True)
    assert (await state(fleet)).name == "running"


async def test_calls_of_the_outage_do_not_open_it_again(fleet: Fleet) -> None:
    """Requests that hang until long after the provider came back tell of the past; new ones count."""
    await opened(fleet)
    await states(fleet).resume("tencent", delivered=True)
    await settle(fleet.queue(), calls(failed=300, began=5.0))
    assert (await state(fleet)).name == "recovering"
    fleet.server.hincrby(fleet.keys.account("tencent"), "resumed_ms", -1000)
    await tell(fleet, failed=20)
    assert (await state(fleet)).name == "circuit_open"


async def leased_at(fleet: Fleet, seconds: float) -> float:
    """Return the rate at which a worker gets events that asks all the time, so long after the breaker closed."""
    began = time.monotonic()
    fleet.server.hset(
        fleet.keys.account("tencent"),
        mapping={"resumed_ms": fleet.now_us() // 1000 - round(seconds * 1000), "ramp_rate": LIMIT},
    )
    key = fleet.keys.account("tencent")
    got = 0
    for _ in range(25):
        got += len(await fleet.take(100))
        fleet.server.hincrbyfloat(key, "ramp_next_ms", -20)  # time goes by
    fleet.server.hdel(key, "ramp_next_ms")
    return got / (0.5 + time.monotonic() - began)


async def test_the_rate_ramps_up(fleet: Fleet) -> None:
    """1 %, 10 %, 50 % for five seconds each, then all that is asked for."""
    fleet.send_many(6000)
    first, second, third, whole = [await leased_at(fleet, seconds) for seconds in (0, 6, 11, 16)]
    # a tenth of a second's worth comes at once
    assert 0 < first <= 0.02 * LIMIT
    assert 0.08 * LIMIT < second <= 0.15 * LIMIT
    assert 0.4 * LIMIT < third <= 0.7 * LIMIT
    assert whole > LIMIT


def test_a_worker_counts_its_calls() -> None:
    """By account and seconds; a slow success is a failure, any answer in time is none; ages count when it tells."""
    counted = Calls(slow=2.0)
    now = math.floor(time.monotonic())
    for outcome, seconds in ((FAILED, 0.1), (GOOD, 0.1), (GOOD, 2.0), (Outcome(Result.PERMANENT), 0.1)):
        counted.ended("tencent", outcome, now - 8.5, seconds, fresh=True)
    for outcome in (FAILED, Outcome(Result.NOT_SENT), Outcome(Result.UNKNOWN)):
        counted.ended("tencent", outcome, now - 8.5, 0.1, fresh=False)
    counted.ended("alibaba", GOOD, now - 8.5, 0.1, fresh=True)
    groups, *rows = call_arguments(counted.take())
    assert groups == 3
    seen = {(row[0], *row[1:6]) for row in (rows[i : i + 9] for i in (0, 9, 18))}
    assert seen == {("tencent", 6, 4, 1, 1, 4), ("tencent", 1, 1, 1, 0, 1), ("alibaba", 1, 0, 0, 0, 1)}
    assert all(9000 <= int(rows[i + 6]) < 20_000 for i in (0, 9, 18))
    assert call_arguments(counted.take()) == [0]
