"""Whether a worker finds that Redis has lost what it held: on a real Redis, emptied or set back."""

import asyncio
from contextlib import nullcontext
from typing import Any

import pytest

from tasks.fleet.epoch import Heartbeat, Loss, Memory
from tasks.fleet.pulse import PulseReader
from tasks.queue.fitness import FORMAT, Unfit, check_fitness
from tests.support.admin import admin
from tests.support.command import call
from tests.support.queues import AlteredScript, Fleet
from tests.support.wait import until


def heart(fleet: Fleet) -> Heartbeat:
    """Return a worker's heart; it has not beaten yet."""
    return Heartbeat(fleet.client, fleet.keys)


def stored(fleet: Fleet) -> dict[Any, Any]:
    """Return what Redis remembers of the heartbeats."""
    return dict(fleet.server.hgetall(fleet.keys.maintenance))


def set_back(fleet: Fleet, to: dict[Any, Any], **changes: int) -> None:
    """Let Redis be as it was."""
    admin(fleet.server).flushdb()
    fleet.server.hset(fleet.keys.maintenance, mapping={**to, **changes})


async def test_a_redis_that_keeps_all_has_lost_nothing(fleet: Fleet) -> None:
    """Many workers, each at its own pace and several at once; a first start with an empty Redis is no loss either."""
    one, other = heart(fleet), heart(fleet)
    found = [await one.beat(), await other.beat(), await other.beat(), await one.beat()]
    found += await asyncio.gather(
        *(each.beat() for each in (one, other, one, heart(fleet)) for _ in range(5))
    )
    assert set(found) == {None}
    assert PulseReader(fleet.server, fleet.keys).read([]).memory.loss is None


async def test_every_worker_is_told_once_of_an_empty_redis(fleet: Fleet) -> None:
    """The first one to come finds it, the others hear of it; then all goes on."""
    workers = [heart(fleet) for _ in range(3)]
    for worker in workers:
        await worker.beat()
    admin(fleet.server).flushdb()
    found = [await worker.beat("tencent paused") for worker in workers]
    assert [loss and (loss.left_ms, loss.operator_states) for loss in found] == [(None, "tencent paused")] * 3
    assert [await worker.beat() for worker in workers] == [None] * 3
    assert PulseReader(fleet.server, fleet.keys).read([]).memory.loss == found[0]


async def test_an_older_state_is_told_with_its_age(fleet: Fleet) -> None:
    """A backup, or a replica that was behind: how far back it is stands in its own heartbeat."""
    one, other = heart(fleet), heart(fleet)
    await one.beat()
    before, now = stored(fleet), fleet.now_us() // 1000
    await other.beat()
    await one.beat()
    set_back(fleet, before, beat_ms=now - 3_600_000)
    loss = await one.beat()
    assert loss is not None
    assert loss.left_ms == now - 3_600_000
    assert (await other.beat()) == loss
    assert (await one.beat()) is None


async def test_an_older_state_of_a_redis_that_is_young_is_not_called_empty(fleet: Fleet) -> None:
    """That nobody had beaten in it before its first minute says nothing of the loss."""
    worker = heart(fleet)
    await worker.beat()
    before = stored(fleet)
    until(lambda: fleet.now_us() // 1000 > int(before[b"beat_ms"]))
    await worker.beat()
    set_back(fleet, before)
    loss = await worker.beat()
    assert loss is not None
    assert loss.left_ms == int(before[b"beat_ms"])


async def test_a_newcomer_hides_nothing(fleet: Fleet) -> None:
    """A worker without a memory may be the first one to come: neither the loss nor its size is hidden by it."""
    old = heart(fleet)
    await old.beat()
    before, now = stored(fleet), fleet.now_us() // 1000
    await old.beat()
    set_back(fleet, before, beat_ms=now - 60_000)
    await heart(fleet).beat()
    admin(fleet.server).hincrby(fleet.keys.maintenance, "count", -1)  # it had beaten less often
    loss = await old.beat()
    assert loss is not None
    assert loss.left_ms == now - 60_000
    admin(fleet.server).flushdb()
    await heart(fleet).beat()
    loss = await old.beat()
    assert loss is not None
    assert loss.left_ms is None


async def test_a_state_of_before_another_loss_is_a_loss(fleet: Fleet) -> None:
    """What comes back may be of an earlier epoch, and may have counted further."""
    worker = heart(fleet)
    await worker.beat()
    before = stored(fleet)
    admin(fleet.server).flushdb()
    assert await worker.beat()
    set_back(fleet, before, count=1_000_000)
    assert await worker.beat()
    assert await worker.beat() is None


async def test_without_the_look_nobody_is_told(fleet: Fleet) -> None:
    """The control: the script judges; where it does not, an emptied Redis is like any other."""
    worker = heart(fleet)
    await worker.beat()
    blind = AlteredScript("fleet/epoch.lua", "local lost = seen ~= '' and older", "local lost = false")
    worker._script = blind  # pyright: ignore[reportPrivateUsage]
    before = stored(fleet)
    await worker.beat()
    set_back(fleet, before)
    assert await worker.beat() is None


async def test_workers_of_before_take_no_harm(fleet: Fleet) -> None:
    """A heartbeat of recovery, which is all that older workers write there, changes none of it."""
    worker = heart(fleet)
    await worker.beat()
    await fleet.queue().recover(["tencent"])
    assert await worker.beat() is None


async def test_a_higher_format_is_left_alone(fleet: Fleet) -> None:
    """What a newer version keeps is not written by this one, not even a heartbeat."""
    fleet.server.hset(fleet.keys.maintenance, "format", FORMAT + 1)
    before = stored(fleet)
    with pytest.raises(Unfit, match=f"format {FORMAT + 1}; this one knows {FORMAT}"):
        await heart(fleet).beat()
    assert stored(fleet) == before


@pytest.mark.parametrize(
    ("written", "format_"),
    [
        (b"2.1", 2),
        (b"2", 2),
        (b"2-beta", 2),
        (b"9" * 15, 10**15 - 1),
        (b"9" * 16, 0),
        (b"", 0),
        (b"-2", 0),
        (b" 2", 0),
        (b"x2", 0),
        (b"\xd9\xa2", 0),
    ],
)
async def test_a_format_means_the_same_to_all(fleet: Fleet, url: str, written: bytes, format_: int) -> None:
    """A worker that starts, commands, the exporter and a heartbeat read alike what a hand has written there."""
    fleet.server.hset(fleet.keys.maintenance, "format", written)
    assert PulseReader(fleet.server, fleet.keys).read([]).memory.format == format_
    said = f"format {format_}; this one knows {FORMAT}"
    ran = call(url, "dead", "list")
    assert (ran.status, said in ran.err) == ((2, True) if format_ > FORMAT else (0, False))
    for asked in (check_fitness(fleet.client, fleet.keys), heart(fleet).beat()):
        with pytest.raises(Unfit, match=said) if format_ > FORMAT else nullcontext():
            await asked


@pytest.mark.parametrize(
    ("met", "lacks"),
    [
        (Memory(1, "2:a", 7), False),
        (Memory(1, "2:a", 9), False),
        (Memory(1, "3:b", 1), False),
        (Memory(1, "2:a", 6), True),
        (Memory(1, "2:b", 9), True),
        (Memory(1, "1:a", 9), True),
        (Memory(), True),
    ],
)
def test_the_exporter_judges_alike(met: Memory, *, lacks: bool) -> None:
    """Another epoch that a worker did not begin, or a lower count, is a loss; a newer epoch is one that was told."""
    assert met.lacks(Memory(1, "2:a", 7)) is lacks
    assert not met.lacks(Memory())


def test_a_loss_says_what_it_may_have_undone() -> None:
    """In one sentence, for the screen and for `check`."""
    assert Loss(1000, None).text.startswith("Redis came back empty: pauses and rate limits")
    assert (
        "with data 90 s old: pauses and rate limits set by operators (a held) may"
        in Loss(90_000, 0, "a held").text
    )
    assert Loss(0, None).recent(1000)
    assert not Loss(0, None).recent(90_000_000)
