"""Keys of the right type with rubbish in them: nobody who looks stumbles over it, and no worker ends of it."""

from __future__ import annotations

import pytest

from tasks.accounts.states import States
from tasks.fleet.epoch import Heartbeat
from tasks.limiter.admission import RateGroup
from tests.support.command import call
from tests.support.engine_worker import EngineWorker
from tests.support.leased import event
from tests.support.queues import Fleet

VALUES = (b"x", b"-1", b"0.5", b"nan", b"inf", b"1e400", b"9" * 16, b"9" * 5000, b"\xff\x00\n\x1b[31m")
SCORES = ("inf", "-inf", "1e300", "-1", "0.5")
NAME = "tencent"


def fill(fleet: Fleet, value: bytes) -> None:
    """Put a value into every field that anybody reads."""
    keys, server = fleet.keys, fleet.server
    fields = {
        keys.maintenance: "format epoch count beat_ms gap_at_ms lost_at_ms lost_left_ms lost_by_hand",
        keys.account(NAME): "state code message since_ms resumed_ms ramp_rate permanent_run probe_at_ms",
        keys.last_error(NAME): "at_ms class code message",
        keys.dead_keep(NAME): "bytes part most age_ms mean from",
        keys.replay(NAME): "share group limit",
        keys.otps_of_hour(NAME, fleet.now_us() // 3_600_000_000): "BR:yes BR:no x",
        keys.otps(NAME): "BR:sent BR:yes noted looked watched latency",
        keys.worker("w1"): "seen_ms note",
        keys.books: f"{NAME}:taken x",
        keys.dead_reasons: f"{NAME}:permanent x",
    }
    for key, names in fields.items():
        server.hset(key, mapping=dict.fromkeys(names.split(), value))
    server.hset(keys.groups, mapping={b"@" + value: value, f"@{NAME}": value})


def score(fleet: Fleet, value: str) -> None:
    """Put members that are none of ours, with a score, into every sorted set."""
    keys, server = fleet.keys, fleet.server
    sets = (keys.workers, keys.remembered, keys.deployments)
    of_account = (keys.scheduled, keys.aged, keys.dead_index, keys.replays, keys.open_otps, keys.early_otps)
    for key in (*sets, *(of(NAME) for of in of_account)):
        server.zadd(key, {b"x": value, b"\xff\x1b": value})
    server.hset(keys.dead(NAME), mapping={b"x": b"x", b"\xff\x1b": b"x"})
    server.hset(keys.taken(NAME), mapping={b"x": b"5000:1", b"\xff\x1b": b"5000:1"})


LOOKS = (
    ("status", "--json"),
    ("status",),
    ("check",),
    ("accounts", "list"),
    ("conversion",),
    ("dead", "list"),
    ("dead", "stats"),
    ("dead", "progress"),
    ("find", "5000:1"),
)


def look(url: str) -> None:
    """Run every command that only looks."""
    for command in LOOKS:
        ran = call(url, *command)
        assert "internal error" not in ran.err, (command, ran.err)
        assert not {"\x1b", "\x00"} & {*ran.out, *ran.err}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value[:8]))
async def test_fields_full_of_rubbish(fleet: Fleet, url: str, value: bytes) -> None:
    """Whoever looks goes on, a heartbeat mends what is its own, and the states can be read."""
    fill(fleet, value)
    look(url)
    await States(fleet.client, fleet.keys, {NAME: RateGroup(NAME, 100)}).read()
    heart = Heartbeat(fleet.client, fleet.keys)
    for _ in range(2):
        await heart.beat()  # an epoch that is no text counts as lost, once
    assert await heart.beat() is None


@pytest.mark.parametrize("value", SCORES)
async def test_sets_full_of_rubbish(fleet: Fleet, url: str, value: str) -> None:
    """The same where members and scores are none of ours."""
    score(fleet, value)
    look(url)


async def test_a_width_that_is_none_stops_no_worker(fleet: Fleet) -> None:
    """What is remembered of deliveries is asked for by every account: rubbish there is thrown away."""
    fleet.server.zadd(fleet.keys.remembered, {b"x": "inf", b"5:": 1, b"7:.": "-inf"})
    async with EngineWorker(fleet, rates={NAME: 1000}) as worker:
        fleet.send(event("5000:1", NAME))
        await worker.ended(1)
    assert fleet.server.zcard(fleet.keys.remembered) == 1
    assert not worker.monitor.redis_errors


async def test_a_field_that_is_no_text(short_lived: Fleet) -> None:
    """Recovery finds it among the records, and no worker ends of it: it is named, and others go on."""
    fleet = short_lived
    fleet.server.hset(fleet.keys.taken("bad"), b"bad:\xff", b"x")
    fleet.server.zadd(fleet.keys.scheduled("bad"), {b"bad:\xff": 1})
    async with EngineWorker(fleet, rates={"good": 1000, "bad": 1000}) as worker:
        fleet.send(event("bad", "bad"), event("good", "good"))
        await worker.until(lambda: {"bad", "good"} <= {*worker.network.ids})
        named = f"{fleet.keys.taken('bad')} of a field"
        await worker.until(lambda: any(named in said for said in worker.monitor.broken))
    assert not worker.monitor.redis_errors


@pytest.mark.parametrize("value", [b"nan", b"-5", b"0", b"x"])
async def test_a_rate_that_is_none(fleet: Fleet, value: bytes) -> None:
    """It is named and lets nothing through, or counts as not set; no other group stops, nor its own for ever."""
    key = fleet.keys.rate("bad")
    fields = ("rate", "top", "lowered_us", "override", "next_us", "pause_us")
    fleet.server.hset(key, mapping=dict.fromkeys(fields, value))
    async with EngineWorker(fleet, rates={"good": 1000, "bad": 20}) as worker:
        fleet.send(event("bad", "bad"), event("good", "good"))
        await worker.until(lambda: "good" in worker.network.ids)
        broken = worker.monitor.broken
        await worker.until(lambda: any(key in said for said in broken) or "bad" in worker.network.ids)
        assert ("bad" in worker.network.ids) == (value == b"nan")
        fleet.server.delete(key)
        await worker.until(lambda: "bad" in worker.network.ids)
    assert not worker.monitor.redis_errors
