"""A worker's tracker: whom it asks for, how much it takes, and what it does when Redis refuses."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Collection

from tasks.accounts.states import States
from tasks.limiter.admission import RateGroup
from tasks.tracking.tracker import ACCOUNTS, NOTICES, Negatives, Tracker
from tests.support.otps import ACCOUNT, Tracking
from tests.support.queues import Fleet
from tests.support.wait import until


def tracker(fleet: Fleet, accounts: Collection[str], faults: list[str] | None = None) -> Tracker:
    """Return the tracker of a worker that serves these accounts."""
    return Tracker(
        fleet.client,
        fleet.keys,
        {ACCOUNT: Negatives(10)},
        lambda: accounts,
        remembered=fleet.remembered,
        on_faults=(faults if faults is not None else []).extend,
    )


@contextlib.asynccontextmanager
async def running(one: Tracker) -> AsyncGenerator[None]:
    """Let it run for the time of a test."""
    task = asyncio.create_task(one.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def tell(fleet: Fleet, number: int, account: str = ACCOUNT) -> None:
    """Tell that so many OTPs were sent."""
    now_ms = time.time_ns() // 1_000_000
    fleet.server.lpush(fleet.keys.notices(account), *(f"sent {now_ms} 60 SG {i}" for i in range(number)))


async def test_a_worker_learns_with_the_states_who_is_tracked(fleet: Fleet) -> None:
    """The first notice makes an account one that is tracked; of others nobody is asked."""
    states = States(
        fleet.client, fleet.keys, {ACCOUNT: RateGroup("group", 500), "other": RateGroup("g", 500)}
    )
    await states.read()
    assert not states.tracked
    tell(fleet, 1)
    await states.read()
    assert states.tracked == {ACCOUNT}
    await tracker(fleet, states.tracked).track(states.tracked)
    assert not fleet.server.exists(fleet.keys.notices(ACCOUNT))
    await states.read()
    assert states.tracked == {ACCOUNT}


async def test_where_nobody_is_tracked_redis_is_not_asked(fleet: Fleet) -> None:
    """An idle worker costs what it did."""
    before = fleet.server.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    async with running(tracker(fleet, ())):
        await asyncio.sleep(0)
    assert fleet.server.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"] == before


async def test_a_full_call_is_followed_at_once(fleet: Fleet) -> None:
    """One worker notes some thousand OTPs within seconds: 1,700 a second at least, asserted at a fifth."""
    tell(fleet, 3400)
    began = time.monotonic()
    async with running(tracker(fleet, [ACCOUNT])):
        await asyncio.to_thread(until, lambda: fleet.server.zcard(fleet.keys.open_otps(ACCOUNT)) == 3400)
    assert time.monotonic() - began < 5 * 3400 / 1700


async def test_a_call_is_bounded_however_many_accounts_there_are(fleet: Fleet) -> None:
    """Each comes first in its turn, so none waits for another for ever."""
    names = [f"account-{number}" for number in range(ACCOUNTS + 20)]
    for name in names:
        tell(fleet, NOTICES, name)
    one = tracker(fleet, names)
    calls = 0
    while any(fleet.server.exists(fleet.keys.notices(name)) for name in names):
        assert (await one.track(names)).noted <= NOTICES
        calls += 1
    assert calls < 3 * len(names)


async def test_a_key_of_a_wrong_type_is_told(fleet: Fleet) -> None:
    """Nothing is lost meanwhile, and it goes on once the key is mended."""
    faults: list[str] = []
    tell(fleet, 3)
    fleet.server.set(fleet.keys.otps(ACCOUNT), "x")
    async with running(tracker(fleet, [ACCOUNT], faults)):
        await asyncio.to_thread(until, lambda: faults)
        assert "WRONGTYPE" in faults[0]
        fleet.server.delete(fleet.keys.otps(ACCOUNT))
        await asyncio.to_thread(until, lambda: fleet.server.zcard(fleet.keys.open_otps(ACCOUNT)) == 3)
    assert Tracking(fleet.server).otps.total.sent == 3
