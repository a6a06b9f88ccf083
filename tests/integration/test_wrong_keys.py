"""A key of a wrong type, or with nonsense in it: it stops its own account, is named, takes nothing along, and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from providers import Result
from tasks.fleet.epoch import Heartbeat
from tasks.fleet.faults import faults
from tasks.fleet.pulse import Pulse, PulseReader
from tasks.fleet.snapshot import SnapshotReader
from tasks.keys import Keys
from tasks.limiter.groups import DerivedGroup, read_groups, settle_groups
from tasks.queue.queue import Queue
from tests.support.engine_worker import EngineWorker, Network
from tests.support.leased import event
from tests.support.queues import Fleet, alter
from worker.connect import connect

TYPES: dict[str, Callable[[Any, str], object]] = {
    "string": lambda server, key: server.set(key, "x"),
    "list": lambda server, key: server.rpush(key, "x"),
    "hash": lambda server, key: server.hset(key, "x", "x"),
    "set": lambda server, key: server.sadd(key, "x"),
    "zset": lambda server, key: server.zadd(key, {"x": 1}),
    "stream": lambda server, key: server.xadd(key, {"x": "x"}),
}

OWN: dict[str, tuple[Callable[[Keys], str], str]] = {
    "ready": (lambda keys: keys.ready("bad")[0], "list"),
    "ready 3": (lambda keys: keys.ready("bad")[1], "list"),
    "taken": (lambda keys: keys.taken("bad"), "hash"),
    "scheduled": (lambda keys: keys.scheduled("bad"), "zset"),
    "suspects": (lambda keys: keys.suspects("bad"), "zset"),
    "aged": (lambda keys: keys.aged("bad"), "zset"),
    "dead": (lambda keys: keys.dead("bad"), "hash"),
    "dead-index": (lambda keys: keys.dead_index("bad"), "zset"),
    "replays": (lambda keys: keys.replays("bad"), "zset"),
    "replay": (lambda keys: keys.replay("bad"), "hash"),
    "account": (lambda keys: keys.account("bad"), "hash"),
    "breaker": (lambda keys: keys.breaker("bad"), "hash"),
    "reached": (lambda keys: keys.reached("bad"), "zset"),
    "unsent": (lambda keys: keys.unsent("bad"), "zset"),
    "rate": (lambda keys: keys.rate("bad"), "hash"),
}
"""Keys of one account, by name, and their right type."""

SHARED: dict[str, tuple[Callable[[Keys], str], str]] = {
    "workers": (lambda keys: keys.workers, "zset"),
    "books": (lambda keys: keys.books, "hash"),
    "claims": (lambda keys: keys.claims, "hash"),
    "held": (lambda keys: keys.held("w1"), "set"),
    "settled": (lambda keys: keys.settled("w1"), "hash"),
}
"""Keys that a worker can't do without, whatever the account."""


def _put(fleet: Fleet, key: str, type_: str) -> bool:
    """Put a value of the type in place of the key, whose own is kept; return whether there was one."""
    kept = bool(fleet.server.exists(key))
    with fleet.server.pipeline() as pipe:
        if kept:
            pipe.rename(key, "kept")
        TYPES[type_](pipe, key)
        pipe.execute()
    return kept


def _mend(fleet: Fleet, key: str, *, kept: bool) -> None:
    with fleet.server.pipeline() as pipe:
        pipe.delete(key)
        if kept:
            pipe.rename("kept", key)
        pipe.execute()


def _send(fleet: Fleet, names: range) -> None:
    for n in names:
        fleet.send(event(f"good-{n}", "good"))
        if fleet.server.type(fleet.keys.ready("bad")[0]) in {b"list", b"none"}:
            fleet.send(event(f"bad-{n}", "bad"))
        else:
            fleet.send(event(f"bad-{n}", "bad"), step=2)


def _named(worker: EngineWorker, key: str) -> bool:
    errors = [str(error) for error in worker.monitor.redis_errors]
    return any(key in said for said in (*worker.monitor.broken, *errors))


def _all_delivered(fleet: Fleet, names: range) -> bool:
    return all(
        fleet.books(account)["delivered"] == len(names) and fleet.places(account).balanced
        for account in ("good", "bad")
    )


def _ids(number: int) -> list[str]:
    return sorted(f"{account}-{n}" for account in ("good", "bad") for n in range(number))


RATES = {"good": 1000, "bad": 1000}

LOOKED_AT_LATE = {"replay", "replays", "breaker", "unsent", "dead", "dead-index"}
"""Keys that are looked at only when the account needs them."""


def _others(right: str) -> list[str]:
    """Return a string, a stream and a container, none of them the right type."""
    return ["string", "stream", "zset" if right == "hash" else "hash"]


@pytest.mark.parametrize("name", OWN)
async def test_a_wrong_key_stops_its_own_account(fleet: Fleet, name: str) -> None:
    """Others go on, the key is named, nothing is lost; once it is gone, everything is delivered."""
    of, right = OWN[name]
    key, sent = of(fleet.keys), 0
    async with EngineWorker(fleet, rates=RATES) as worker:
        for type_ in _others(right):
            kept = _put(fleet, key, type_)
            _send(fleet, range(sent, sent := sent + 4))
            await worker.until(lambda: fleet.books("good")["delivered"] == sent)
            if name not in LOOKED_AT_LATE:
                await worker.until(lambda: _named(worker, key))
            worker.monitor.broken.clear()
            _mend(fleet, key, kept=kept)
            await worker.until(lambda: _all_delivered(fleet, range(sent)))
    assert not worker.monitor.redis_errors
    assert sorted(worker.network.ids) == _ids(sent)


@pytest.mark.parametrize("name", SHARED)
async def test_a_wrong_shared_key_takes_nothing_along(fleet: Fleet, name: str) -> None:
    """Where every account needs the key nothing is moved until it is gone; then everything is delivered once."""
    of, right = SHARED[name]
    key, sent = of(fleet.keys), 0
    async with EngineWorker(fleet, rates=RATES) as worker:
        for type_ in _others(right)[1:]:
            kept = _put(fleet, key, type_)
            _send(fleet, range(sent, sent := sent + 4))
            await worker.until(lambda: _named(worker, key))
            worker.monitor.redis_errors.clear()
            _mend(fleet, key, kept=kept)
            await worker.until(lambda: _all_delivered(fleet, range(sent)))
    assert sorted(worker.network.ids) == _ids(sent)


@pytest.mark.parametrize(
    ("name", "reply", "ending"),
    [
        ("taken", Result.DELIVERED, "delivered"),
        ("aged", Result.DELIVERED, "delivered"),
        ("account", Result.DELIVERED, "delivered"),
        ("breaker", Result.TRANSIENT, "delivered"),
        ("scheduled", Result.TRANSIENT, "delivered"),
        ("dead", Result.PERMANENT, "permanent"),
        ("dead-index", Result.PERMANENT, "permanent"),
        ("dead-reasons", Result.PERMANENT, "permanent"),
    ],
)
async def test_a_key_that_goes_wrong_under_way(fleet: Fleet, name: str, reply: Result, ending: str) -> None:
    """What is under way then is settled when the key is gone, and once; those of other accounts at once."""
    key = fleet.keys.dead_reasons if name == "dead-reasons" else OWN[name][0](fleet.keys)
    kept: list[bool] = []

    def spoil(message_id: str) -> None:
        if message_id == "bad-0" and not kept:
            kept.append(_put(fleet, key, "string"))

    network = Network({"bad-0": [reply]}, on_send=spoil)
    async with EngineWorker(fleet, network, rates=RATES) as worker:
        fleet.send(event("bad-0", "bad"))
        await worker.until(lambda: kept)
        fleet.send(*(event(f"good-{n}", "good") for n in range(4)))
        await worker.until(lambda: fleet.books("good")["delivered"] == 4)
        await worker.until(lambda: _named(worker, key))
        _mend(fleet, key, kept=kept[0])
        await worker.until(lambda: worker.monitor.endings[ending] == 5 - 4 * (ending == "permanent"))
    assert fleet.places("bad").balanced
    assert network.ids.count("bad-0") == 1 + (reply is Result.TRANSIENT)
    assert not worker.monitor.redis_errors
    assert not worker.monitor.lost_tags


@pytest.mark.parametrize("field", ["bad:taken", "bad:delivered"])
async def test_nonsense_in_the_books(fleet: Fleet, field: str) -> None:
    """A count that is no number stops its account before anything is moved."""
    fleet.server.hset(fleet.keys.books, field, "many")
    async with EngineWorker(fleet, rates=RATES) as worker:
        _send(fleet, range(4))
        await worker.until(lambda: worker.monitor.endings["delivered"] == 4)
        await worker.until(lambda: _named(worker, f"{fleet.keys.books} {field}"))
        fleet.server.hdel(fleet.keys.books, field)
        await worker.until(lambda: worker.monitor.endings["delivered"] == 8)
    assert fleet.places("bad").balanced
    assert not worker.monitor.redis_errors


@pytest.mark.parametrize("field", ["probe_at_ms", "ramp_rate", "permanent_run"])
async def test_nonsense_in_the_state_of_an_account(fleet: Fleet, field: str) -> None:
    """A state that can't be read stops its account, or is passed over; it never stops another."""
    fleet.server.hset(fleet.keys.account("bad"), mapping={field: "soon", "resumed_ms": "now"})
    if field == "probe_at_ms":
        fleet.server.hset(fleet.keys.account("bad"), "state", "stopped")
    async with EngineWorker(fleet, Network({"bad-0": [Result.PERMANENT]}), rates=RATES) as worker:
        _send(fleet, range(4))
        await worker.until(lambda: fleet.books("good")["delivered"] == 4)
        fleet.server.delete(fleet.keys.account("bad"))
        await worker.until(lambda: worker.monitor.endings["permanent"] == 1)
        await worker.until(lambda: fleet.books("bad")["delivered"] == 3)
    assert fleet.places("bad").balanced


async def test_a_set_of_delivered_events_that_is_none(fleet: Fleet) -> None:
    """An event whose copies can't be looked for waits, and all others go."""
    async with EngineWorker(fleet, rates=RATES) as worker:
        fleet.send(event("bad-0", "bad"))
        await worker.ended(1)
        (bucket,) = fleet.server.keys("otpreport:done:*")
        fleet.server.delete(bucket)
        fleet.server.set(bucket, "x")
        fleet.send(event("bad-0", "bad"), event("good-0", "good"))
        await worker.until(lambda: _named(worker, bucket.decode()))
        await worker.until(lambda: fleet.places("bad").scheduled == 1)
        await worker.until(lambda: fleet.books("good")["delivered"] == 1)
    assert fleet.places("bad").balanced
    assert not worker.monitor.redis_errors


@pytest.mark.parametrize("name", ["taken", "scheduled", "suspects", "maintenance"])
async def test_recovery_leaves_what_it_cannot_put_elsewhere(short_lived: Fleet, name: str) -> None:
    """What a dead worker held of the account stays held until the key is gone, and others get theirs back."""
    fleet = short_lived
    _send(fleet, range(3))
    dead = fleet.queue("dead")
    assert len((await dead.lease({"bad": 3, "good": 3})).leased) == 6
    key = fleet.keys.maintenance if name == "maintenance" else OWN[name][0](fleet.keys)
    kept = _put(fleet, key, "string")
    async with EngineWorker(fleet, rates=RATES) as worker:
        if name != "maintenance":
            await worker.until(lambda: fleet.books("good")["delivered"] == 3)
        await worker.until(lambda: _named(worker, key))
        assert fleet.books("bad")["delivered"] == 0
        _mend(fleet, key, kept=kept)
        await worker.until(lambda: _all_delivered(fleet, range(3)))


async def test_rights_that_are_taken_away(fleet: Fleet) -> None:
    """A user that may no longer write takes nothing out of the lists."""
    fleet.send_many(20)
    server = fleet.server
    server.execute_command("ACL", "SETUSER", "lame", "on", ">x", "~*", "+@all", "-hset")
    port = server.connection_pool.connection_kwargs["port"]
    lame = connect(f"redis://lame:x@127.0.0.1:{port}/0")
    said: list[str] = []
    queue = Queue(lame, fleet.keys, "w1", lease=30.0, remembered=fleet.remembered, on_faults=said.extend)
    assert (await queue.lease({"tencent": 20})).leased == []
    await lame.aclose()
    server.execute_command("ACL", "DELUSER", "lame")
    assert fleet.places().ready == 20
    assert any("NOPERM" in fault and fleet.keys.taken("tencent") in fault for fault in said)


async def test_without_the_look_the_queue_is_thrown_away(fleet: Fleet) -> None:
    """It is the look at `taken` that saves them: a script that pops first loses what it popped."""
    fleet.send_many(20)
    fleet.server.set(fleet.keys.taken("tencent"), "x")
    queue = fleet.queue()
    alter(queue, "_lease_script", "queue/lease.lua", " or not can_take(account)", "")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await queue.lease({"tencent": 20})
    assert fleet.server.llen(fleet.keys.ready("tencent")[0]) == 0


OTHERS: dict[str, tuple[Callable[[Keys], str], str]] = {
    "last-error": (lambda keys: keys.last_error("bad"), "hash"),
    "maintenance": (lambda keys: keys.maintenance, "hash"),
    "dead-reasons": (lambda keys: keys.dead_reasons, "hash"),
    "dead-keep": (lambda keys: keys.dead_keep("bad"), "hash"),
    "audit": (lambda keys: keys.audit, "stream"),
}
EVERY = {**OWN, **SHARED, **OTHERS}


@pytest.mark.parametrize("name", sorted(EVERY.keys() - {"settled", "ready 3"}))
async def test_whoever_looks_on_is_told_the_key(fleet: Fleet, name: str) -> None:
    """A look at the fleet goes on without what can't be read, and names it."""
    fleet.send(event("good", "good"))
    await fleet.take(1, account="good")
    key = EVERY[name][0](fleet.keys)
    _put(fleet, key, "string")
    snapshot = SnapshotReader(fleet.server, fleet.keys, {"good": "good", "bad": "bad"}).read()
    pulse = PulseReader(fleet.server, fleet.keys).read(["good", "bad"])
    assert any(key in fault for fault in faults(fleet.server, snapshot, pulse))
    good = next(account for account in snapshot.accounts if account.name == "good")
    assert good.records == 1


def test_whoever_looks_on_is_told_that_redis_writes_nothing(fleet: Fleet) -> None:
    """A Redis that can be read and not written does not look well."""
    snapshot = SnapshotReader(fleet.server, fleet.keys, {"good": "good"}).read()
    assert faults(fleet.server, snapshot, Pulse()) == ()
    fleet.server.config_set("min-replicas-to-write", 1)
    try:
        (said,) = faults(fleet.server, snapshot, Pulse())
    finally:
        fleet.server.config_set("min-replicas-to-write", 0)
    assert said.startswith("redis refuses to write: NOREPLICAS")


async def test_the_groups_and_the_epoch_are_named_too(fleet: Fleet) -> None:
    """Whoever can't begin without them says which key it is."""
    keys = fleet.keys
    derived = [DerivedGroup("good", "tencent", "tencent:key")]
    for key in (keys.groups, keys.maintenance):
        fleet.server.set(key, "x")
    with pytest.raises(ResponseError, match=keys.groups):
        await settle_groups(fleet.client, keys, derived)
    with pytest.raises(ResponseError, match=keys.groups):
        read_groups(fleet.server, keys, derived)
    with pytest.raises(ResponseError, match=keys.maintenance):
        await Heartbeat(fleet.client, keys).beat()
