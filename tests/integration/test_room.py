"""How accounts share what a worker has room for, decided in the lease call."""

from collections import Counter

import pytest

from tasks.queue.queue import Room
from tests.support.queues import SHARE, Fleet, alter


async def fill(fleet: Fleet, concurrency: int, accounts: int, *, at_once: int = 1000) -> list[int]:
    """Return what each account holds when all take what they may, and none lets go."""
    names = [f"account{number}" for number in range(accounts)]
    for name in names:
        fleet.send_many(concurrency + 1, name)
    held: Counter[str] = Counter()
    before = -1
    while held.total() > before:
        before = held.total()
        room = Room(concurrency - before, dict(held))
        batch = await fleet.queue().lease(dict.fromkeys(names, at_once), room=room)
        held.update(leased.account for leased in batch.leased)
    return [held[name] for name in names]


@pytest.mark.parametrize("concurrency", [3, 20, 100])
async def test_an_account_that_hangs_leaves_room(fleet: Fleet, concurrency: int) -> None:
    """An account whose provider never answers fills two thirds of the worker, and another still gets in."""
    [greedy] = await fill(fleet, concurrency, 1)
    assert abs(greedy - concurrency * 2 / 3) <= 1
    fleet.send_many(1, "other")
    room = Room(concurrency - greedy, {"account0": greedy})
    batch = await fleet.queue().lease({"account0": 1000, "other": 1000}, room=room)
    assert [leased.account for leased in batch.leased] == ["other"]


@pytest.mark.parametrize("accounts", [1, 2, 16])
@pytest.mark.parametrize("concurrency", [1, 2, 20, 100])
async def test_the_worker_is_never_overfull(fleet: Fleet, concurrency: int, accounts: int) -> None:
    """Whatever the accounts, together they hold no more than the concurrency, and at least half of it."""
    assert concurrency / 2 <= sum(await fill(fleet, concurrency, accounts)) <= concurrency


async def test_without_shares_the_first_takes_all(fleet: Fleet) -> None:
    """It is the share that leaves something to the others."""
    alter(fleet.queue(), "_lease_script", "queue/lease.lua", SHARE, "free")
    assert await fill(fleet, 20, 3) == [20, 0, 0]


@pytest.mark.parametrize("accounts", [2, 6])
async def test_hungry_accounts_share_evenly(fleet: Fleet, accounts: int) -> None:
    """Accounts that all want everything hold about the same."""
    held = await fill(fleet, 100, accounts, at_once=1)
    assert max(held) - min(held) <= 1


async def test_taking_many_at_once_is_taking_one_by_one(fleet: Fleet) -> None:
    """An account gets at once what it would get by asking again after each event."""
    [at_once], [by_ones, _] = await fill(fleet, 50, 1), await fill(fleet, 50, 2, at_once=1)
    taken = 0
    while taken < 2 * (50 - taken):
        taken += 1
    assert at_once == taken
    taken = 0
    while taken < 2 * (50 - 2 * taken):
        taken += 1
    assert by_ones == taken


async def test_who_has_nothing_takes_no_room(fleet: Fleet) -> None:
    """The share of an account without events is the others': the last of sixteen gets as much as an only one."""
    names = [f"account{number}" for number in range(16)]
    fleet.send_many(100, names[-1])
    batch = await fleet.queue().lease(dict.fromkeys(names, 100), room=Room(100, {}))
    assert len(batch.leased) == 67
