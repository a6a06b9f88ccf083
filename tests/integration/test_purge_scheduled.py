"""Events that wait for a retry or an eta are ended by hand: by filter, counted before, booked, beside workers."""

import asyncio
import time
from collections.abc import Iterable

import pytest
import redis
from redis.exceptions import ResponseError

from providers import Result
from tasks.history import Attempt, History
from tasks.queue.scheduled import PAGE, ScheduledEvents, Waiting, Wanted
from tasks.retry import Policy
from tasks.script import text_of
from tasks.settlement import Schedule
from tests.support.command import call
from tests.support.engine_worker import EngineWorker, Network
from tests.support.leased import event
from tests.support.queues import Fleet


async def put_off(
    fleet: Fleet, number: int, code: str = "", *, eta: bool = False, delay: float = 20.0
) -> None:
    """Let so many events wait, each after an attempt that ended with the code where there is one."""
    fleet.send_many(number)
    history = History((Attempt(1, Result.TRANSIENT, code, "", "", 1),) if code else ())
    taken = await fleet.take(number)
    assert len(taken) == number
    for one in taken:
        await fleet.settle(one, Schedule(delay, one.leased.record(history), eta=eta))


def schedule(fleet: Fleet) -> ScheduledEvents:
    """Return the account's schedule."""
    return ScheduledEvents(fleet.server, fleet.keys, "tencent")


def drop(fleet: Fleet, wanted: Wanted) -> int:
    """End what the filter finds and return how many."""
    chosen = schedule(fleet)
    return sum(chosen.drop(chosen.events(wanted)))


async def test_a_filter_ends_those_it_finds(fleet: Fleet) -> None:
    """By the last code and by what they wait for; the books balance and the others stay."""
    await put_off(fleet, 7, "LimitExceeded.x")
    await put_off(fleet, 5, "InternalError")
    await put_off(fleet, 3, eta=True)
    assert drop(fleet, Wanted(frozenset({"LimitExceeded*"}))) == 7
    assert fleet.places().scheduled == 8
    assert drop(fleet, Wanted(eta=True)) == 3
    assert drop(fleet, Wanted(eta=False, since_ms=int(time.time() * 1000) + 3_600_000)) == 0
    assert drop(fleet, Wanted(eta=False)) == 5
    assert fleet.books()["purged"] == 15
    assert fleet.places().balanced
    assert not fleet.server.exists(fleet.keys.scheduled("tencent"), fleet.keys.taken("tencent"))
    assert not fleet.server.exists(fleet.keys.aged("tencent"))


async def test_each_call_is_bounded(fleet: Fleet) -> None:
    """A page is so many events, however many are due at the same moment."""
    for _ in range(6):
        await put_off(fleet, PAGE // 2, eta=True)
    for tag in fleet.server.zrange(fleet.keys.scheduled("tencent"), 0, -1):
        fleet.server.zadd(fleet.keys.scheduled("tencent"), {tag: 9_000_000_000_000.5})
    chosen = schedule(fleet)
    ended = list(chosen.drop(chosen.events(Wanted())))
    assert sum(ended) == 3 * PAGE
    assert max(ended) <= PAGE


async def test_the_message_id_is_free_again(fleet: Fleet) -> None:
    """An event that was admitted and failed owns its message id; purged, it lets go of it: a copy may be sent."""
    network, patient = Network({"a": [Result.TRANSIENT] * 1000}), Policy(1000, base=0.05, cap=0.05)
    async with EngineWorker(fleet, network, policy=patient) as worker:
        fleet.send(event("a"))
        await worker.until(lambda: worker.monitor.endings["again"] and fleet.server.hlen(fleet.keys.claims))
        await worker.until(lambda: drop(fleet, Wanted()))
    assert fleet.server.hlen(fleet.keys.claims) == 0


async def test_what_a_worker_takes_meanwhile_goes_on(fleet: Fleet) -> None:
    """A purge beside a worker that retries: each event is delivered or purged, and counted once."""
    replies: dict[str, list[Result | Exception]] = {
        f"tencent-{n}": [Result.TRANSIENT] * 2 for n in range(0, 400, 4)
    }
    async with EngineWorker(fleet, Network(replies), rates={"tencent": 2000}) as worker:
        fleet.send(*(event(f"tencent-{n}") for n in range(400)))
        purged = 0
        while fleet.books()["delivered"] + purged < 400:
            purged += await asyncio.to_thread(drop, fleet, Wanted())
            await worker.until(lambda: True)
    assert fleet.books()["delivered"] + fleet.books()["purged"] == 400
    assert fleet.books()["purged"] == purged
    assert fleet.places().balanced
    assert fleet.server.hlen(fleet.keys.claims) == 0
    assert not worker.monitor.lost_tags


def _seen(chosen: ScheduledEvents) -> list[Waiting]:
    return list(chosen.events(Wanted()))


async def test_one_that_was_taken_since_it_was_read_is_left(fleet: Fleet) -> None:
    """Also where it waits again by then, for another time."""
    await put_off(fleet, 2, delay=0.0)
    chosen = schedule(fleet)
    seen = _seen(chosen)
    taken = await fleet.take(2)
    assert sum(chosen.drop(seen)) == 0
    for one in taken:
        await fleet.settle(one, Schedule(60.0))
    assert sum(chosen.drop(seen)) == 0
    assert fleet.places().balanced


async def test_without_the_look_at_the_time_it_is_taken_away(fleet: Fleet) -> None:
    """It is that look that leaves what a worker holds in its hands."""
    await put_off(fleet, 1, delay=0.0)
    chosen = schedule(fleet)
    look = "redis.call('ZSCORE', KEYS[1], tag) == ARGV[i + 1]"
    text = text_of("queue/drop.lua")
    assert look in text
    setattr(chosen, "_drop_script", fleet.server.register_script(text.replace(look, "true")))  # noqa: B010 - it is private
    seen = _seen(chosen)
    await fleet.take(1)
    assert sum(chosen.drop(seen)) == 1
    assert not fleet.places().balanced


@pytest.mark.parametrize("name", ["scheduled", "taken", "aged", "claims", "books"])
async def test_a_wrong_key_ends_nothing(fleet: Fleet, name: str) -> None:
    """It is named."""
    await put_off(fleet, 2, "x")
    chosen = schedule(fleet)
    seen, key = _seen(chosen), getattr(fleet.keys, name)
    key = key if isinstance(key, str) else key("tencent")
    before: Iterable[bytes] = fleet.server.keys("*")
    if key.encode() in before:
        fleet.server.rename(key, "aside")
    fleet.server.set(key, "x")
    with pytest.raises(ResponseError, match=key):
        list(chosen.drop(seen))
    fleet.server.delete(key)
    if key.encode() in before:
        fleet.server.rename("aside", key)
    assert sum(chosen.drop(seen)) == 2
    assert fleet.places().balanced


async def test_the_command_counts_before_and_is_written_down(
    fleet: Fleet, url: str, valkey: redis.Redis
) -> None:
    """Without --yes it tells how many and changes nothing; a filter is asked for; the audit knows who."""
    await put_off(fleet, 3, "InternalError")
    await put_off(fleet, 2, eta=True)
    ran = call(url, "accounts", "purge", "tencent")
    assert (ran.status, ran.line) == (2, "select the events: a filter such as --code or --until, or --all")
    ran = call(url, "accounts", "purge", "tencnet", "--all")
    assert (ran.status, ran.line.partition(":")[0]) == (2, "tencnet")
    ran = call(url, "accounts", "purge", "tencent", "--all")
    assert ran.status == 2
    assert "InternalError" in ran.out
    assert "add --yes" in ran.line
    assert fleet.places().scheduled == 5
    ran = call(url, "accounts", "purge", "tencent", "--retry", "--by", "kim", "--yes", "--json")
    assert ran.json == {"account": "tencent", "found": 3, "purged": 3}
    assert "purged 2 events" in call(url, "accounts", "purge", "tencent", "--all", "--yes").out
    assert "nothing to purge" in call(url, "accounts", "purge", "tencent", "--all", "--yes").out
    assert valkey.hget(fleet.keys.books, "tencent:purged") == b"5"
    assert fleet.places().balanced
    entries = call(url, "audit", "--json").json["audit"][::-1]
    assert [entry["action"] for entry in entries] == ["purge-scheduled", "purge-scheduled-end"] * 2
    assert (entries[0]["by"], entries[0]["events"], entries[0]["filter"]) == ("kim", 3, {"eta": False})
    assert (entries[1]["purged"], entries[1]["result"]) == (3, "done")


async def test_a_purge_that_redis_stops_says_how_far_it_got(fleet: Fleet, url: str) -> None:
    """What went wrong, how many are purged, that the same command goes on; and the audit has its end."""
    await put_off(fleet, 3, "x")
    fleet.server.set(fleet.keys.claims, "x")
    ran = call(url, "accounts", "purge", "tencent", "--all", "--yes")
    what, how = ran.err.splitlines()
    assert ran.status == 1
    assert fleet.keys.claims in what
    assert how == "purged so far: 0; run the same command again for the rest"
    end = call(url, "audit", "--json").json["audit"][0]
    assert (end["action"], end["purged"], end["of"], end["result"]) == (
        "purge-scheduled-end",
        0,
        3,
        "redis failed",
    )
    fleet.server.delete(fleet.keys.claims)
    assert "purged 3 events" in call(url, "accounts", "purge", "tencent", "--all", "--yes").out
