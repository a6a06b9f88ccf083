"""The circuit breaker in Redis: what opens it, what closes it again, and how the account comes back."""

import time

import pytest

from providers import Outcome, Result
from tasks.admission import RateGroup
from tasks.breaker import Breaker, Calls
from tasks.queue import Queue
from tasks.settlement import Schedule
from tasks.states import State, States
from tests.support.queues import Fleet, alter

FAILED = Outcome(Result.TRANSIENT, "InternalError")
GOOD = Outcome(Result.DELIVERED)
LIMIT = 1000


async def tell(fleet: Fleet, *, failed: int = 0, good: int = 0, age: float = 0.0, worker: str = "w1") -> None:
    """Let a worker settle, with so many calls that ended and were begun `age` seconds ago."""
    calls: list[str | int] = [1, "tencent", failed + good, failed, round(age * 1000), "InternalError"]
    queue = fleet.queue(worker)
    await queue.settle([], queue.next_call(), calls)


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
    assert (await state(fleet)).name == "open"
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
    await queue.settle([], queue.next_call(), [1, "tencent", 6, 1, 0, "x"])
    assert (await state(fleet)).name == "open"


async def test_it_can_be_switched_off(fleet: Fleet) -> None:
    """With no least number of calls it never opens."""
    queue = Queue(
        fleet.client, fleet.keys, "w9", lease=30.0, remembered=fleet.remembered, breaker=Breaker(calls=0)
    )
    await queue.settle([], queue.next_call(), [1, "tencent", 60, 60, 0, "x"])
    assert (await state(fleet)).name == "running"


async def test_old_calls_do_not_count(fleet: Fleet) -> None:
    """Failures of more than ten seconds ago are forgotten."""
    await tell(fleet, failed=15, good=1)
    window = fleet.keys.breaker("tencent")
    for slot, value in fleet.server.hgetall(window).items():
        if slot.isdigit():
            second, counts = value.split(b" ", 1)
            fleet.server.hset(window, slot, b"%d %b" % (int(second) - 10, counts))
    await tell(fleet, failed=5, good=1)
    assert (await state(fleet)).name == "running"


async def test_a_run_of_failures_opens_a_quiet_account(fleet: Fleet) -> None:
    """An account with few calls is not left to use up its attempts; but a blip of a moment is no outage."""
    await tell(fleet, failed=6)
    assert (await state(fleet)).name == "running"
    fleet.server.hincrby(fleet.keys.breaker("tencent"), "run_ms", -3000)
    await tell(fleet, failed=1)
    assert (await state(fleet)).message == "7 calls in a row failed"


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
        await queue.settle([], number, [1, "tencent", 12, 12, 0, "x"])
    assert (await state(fleet)).name == "running"


async def test_a_hand_is_stronger(fleet: Fleet) -> None:
    """What an operator holds back or drops stays so, whatever fails."""
    for name in ("held", "shed", "stopped"):
        fleet.set_state(name)
        await tell(fleet, failed=40)
        assert (await state(fleet)).name == name


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
    alter(queue, "_lease_script", "lease.lua", "or is_leased(account, state[3])", "")
    for _ in range(3):
        assert len(await fleet.take(10)) == 1
        fleet.server.hset(fleet.keys.account("tencent"), "probe_at_ms", 0)


async def test_a_worker_that_starts_does_not_close_it(fleet: Fleet) -> None:
    """The state is in Redis: new workers, their leases and settles find it and leave it."""
    await opened(fleet)
    newcomer = fleet.new_queue("new")
    await newcomer.lease({"tencent": 10})
    await newcomer.settle([], newcomer.next_call(), [1, "tencent", 50, 0, 0, ""])
    assert (await state(fleet)).name == "open"


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
    assert (await state(fleet)).name == "stopped"
    await states(fleet).resume("tencent", delivered=True)
    assert (await state(fleet)).name == "running"


async def test_calls_of_the_outage_do_not_open_it_again(fleet: Fleet) -> None:
    """Requests that hang until long after the provider came back tell of the past; new ones count."""
    await opened(fleet)
    await states(fleet).resume("tencent", delivered=True)
    await tell(fleet, failed=300, age=5.0)
    assert (await state(fleet)).name == "recovering"
    fleet.server.hincrby(fleet.keys.account("tencent"), "resumed_ms", -1000)
    await tell(fleet, failed=20)
    assert (await state(fleet)).name == "open"


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
    """By account and by the second they began in; a slow success is a failure, any answer in time is none."""
    calls = Calls(slow=2.0)
    for outcome, seconds in ((FAILED, 0.1), (GOOD, 0.1), (GOOD, 2.0), (Outcome(Result.PERMANENT), 0.1)):
        calls.ended("tencent", outcome, 100.5, seconds)
    calls.ended("alibaba", GOOD, 100.5, 0.1)
    calls.ended("tencent", GOOD, 101.5, 0.1)
    groups, *rows = calls.take()
    assert groups == 3
    assert [rows[i : i + 3] for i in (0, 5, 10)] == [["tencent", 4, 2], ["alibaba", 1, 0], ["tencent", 1, 0]]
    assert calls.take() == [0]
