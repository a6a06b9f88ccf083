"""What workers tell of themselves, and what is read of it, in a real Redis."""

import asyncio
import time

import pytest
import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected

from providers.base import Outcome, Result
from tasks.fleet.deployment import Deployment
from tasks.fleet.last_error import LastErrors
from tasks.fleet.presence import Presence
from tasks.fleet.pulse import MOST_WORKERS, AccountPulse, PulseReader
from tasks.keys import Keys
from tests.support.admin import admin
from tests.support.dead import Undertaker
from tests.support.queues import Fleet

KEYS = Keys()
REFUSED = Outcome(Result.ACCOUNT, "AuthFailure", "the key is wrong")


def presence(fleet: Fleet, errors: LastErrors, worker: str = "w1") -> Presence:
    """Return a worker's voice."""
    return Presence(fleet.client, KEYS, worker, errors)


def alive(client: redis.Redis, worker: str, seconds: float = 30.0) -> None:
    """Give a worker a lease that ends so many seconds from now."""
    client.zadd(KEYS.workers, {worker: time.time() * 1000 + seconds * 1000})


async def test_what_a_worker_tells_is_read(fleet: Fleet) -> None:
    """Its note, what it holds by Redis' own books, and the last error of each account."""
    errors = LastErrors()
    errors.note("tencent", REFUSED)
    await presence(fleet, errors).announce(
        {"host": "h", "pid": 7, "in_flight": 3, "concurrency": 400, "serves": ["a"], "version": "0.1.0"}
    )
    alive(fleet.server, "w1")
    fleet.server.sadd(KEYS.held("w1"), "a", "b")
    pulse = PulseReader(fleet.server, KEYS).read(["tencent", "alibaba"])
    [worker] = pulse.workers
    assert (worker.worker, worker.host, worker.pid, worker.held, worker.in_flight) == ("w1", "h", 7, 2, 3)
    assert (worker.serves, worker.version) == (("a",), "0.1.0")
    assert worker.seen_ms is not None
    assert worker.alive(worker.seen_ms)
    error = pulse.of("tencent").last_error
    assert error is not None
    assert (error.result, error.code, error.message) == ("account", "AuthFailure", "the key is wrong")
    assert pulse.of("alibaba") == pulse.of("nobody") == AccountPulse()
    assert all(admin(fleet.server).ttl(key) > 0 for key in (KEYS.worker("w1"), KEYS.last_error("tencent")))


async def test_an_error_that_is_told_late_does_not_hide_a_newer_one(fleet: Fleet) -> None:
    """Two workers tell in any order; a worker without Redis for a while tells later."""
    late, early = LastErrors(), LastErrors()
    late.note("tencent", Outcome(Result.TRANSIENT, "older"))
    await asyncio.sleep(0.02)
    early.note("tencent", Outcome(Result.TRANSIENT, "newer"))
    await presence(fleet, early, "w2").announce({})
    await presence(fleet, late, "w1").announce({})
    error = PulseReader(fleet.server, KEYS).read(["tencent"]).of("tencent").last_error
    assert error is not None
    assert error.code == "newer"


async def test_without_redis_the_errors_are_kept(fleet: Fleet) -> None:
    """They are told as soon as it answers."""
    errors = LastErrors()
    errors.note("tencent", REFUSED)
    async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        with pytest.raises(NotConnected):
            await Presence(nowhere, KEYS, "w1", errors).announce({})
    await presence(fleet, errors).announce({})
    assert fleet.server.hget(KEYS.last_error("tencent"), "code") == b"AuthFailure"


async def test_a_full_redis_takes_it(fleet: Fleet) -> None:
    """Somebody looks just then; the control: another write is refused."""
    admin(fleet.server).config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            fleet.server.set("another", "write")
        await presence(fleet, LastErrors()).announce({"host": "h"})
    finally:
        admin(fleet.server).config_set("maxmemory", 0)
    assert fleet.server.hget(KEYS.worker("w1"), "note") == b'{"host":"h"}'


def deployed(rate: int = 50, **others: dict[str, str]) -> Deployment:
    """Return a deployment with one account of such a rate, and others."""
    return Deployment({"tencent": {"provider": "tencent", "rate_limit": str(rate)}, **others})


async def test_two_deployments_are_told_apart(fleet: Fleet) -> None:
    """Each worker learns of the other, and so does who looks; accounts that one has alone are no difference."""
    one, same, other = (presence(fleet, LastErrors(), worker) for worker in ("w1", "w2", "w3"))
    for _ in range(2):  # the first word asks for the whole
        await one.announce({}, deployed())
        await same.announce({}, deployed())
    assert one.differences == same.differences == {}
    for _ in range(2):
        await other.announce({}, deployed(200, alibaba={"provider": "alibaba"}))
    await one.announce({}, deployed())
    expected = {"tencent": "rate_limit 200 or 50"}
    assert one.differences == other.differences == expected
    assert PulseReader(fleet.server, KEYS).read([]).differences == expected


async def test_a_roll_out_ends(fleet: Fleet) -> None:
    """A deployment without a living worker is none, and is forgotten."""
    one, other = presence(fleet, LastErrors()), presence(fleet, LastErrors(), "w2")
    for _ in range(2):
        await other.announce({}, deployed(200))
        await one.announce({}, deployed())
    assert one.differences
    for ago in (11, 601):
        fleet.server.zadd(KEYS.deployments, {deployed(200).digest: fleet.now_us() / 1000 - ago * 1000})
        await one.announce({}, deployed())
        assert not one.differences
        assert not PulseReader(fleet.server, KEYS).read([]).differences
    assert fleet.server.zrange(KEYS.deployments, 0, -1) == [deployed().digest.encode()]


async def test_a_note_stays_small_with_many_accounts(fleet: Fleet) -> None:
    """Two hundred accounts are told once, not every second, and again where Redis has forgotten them."""
    many = Deployment(
        {f"account-{n}": {"provider": "tencent", "endpoint": "https://e.example"} for n in range(200)}
    )
    voice = presence(fleet, LastErrors())
    for told in (False, True):
        await voice.announce({}, many)
        assert bool(fleet.server.exists(KEYS.deployment(many.digest))) is told
    fleet.server.hdel(KEYS.deployment(many.digest), "account-0")
    await voice.announce({}, many)
    assert fleet.server.hlen(KEYS.deployment(many.digest)) == 199, "it was told again"
    assert fleet.server.hlen(KEYS.worker("w1")) == 2
    assert admin(fleet.server).ttl(KEYS.deployment(many.digest)) > 0
    admin(fleet.server).flushdb()
    await voice.announce({}, many)
    await voice.announce({}, many)
    assert fleet.server.hlen(KEYS.deployment(many.digest)) == 200


@pytest.mark.parametrize("note", [b"\xff", b"[1]", b'{"host": 1, "pid": "x", "in_flight": {}}', b""])
def test_a_note_of_somebody_else_is_no_fault(valkey: redis.Redis, note: bytes) -> None:
    """What can't be read is not known."""
    alive(valkey, "w1")
    for field, value in {"note": note, "seen_ms": b"soon"}.items():
        valkey.hset(KEYS.worker("w1"), field, value)
    for field in ("at_ms", "code"):
        valkey.hset(KEYS.last_error("tencent"), field, b"\xff" * 20)
    pulse = PulseReader(valkey, KEYS).read(["tencent"])
    [worker] = pulse.workers
    assert (worker.host, worker.pid, worker.in_flight, worker.seen_ms) == ("", None, None, None)
    assert pulse.of("tencent").last_error is None


def test_workers_without_number_are_not_read_without_end(valkey: redis.Redis) -> None:
    """A crash loop's old entries push no living worker out."""
    alive(valkey, "the-living")
    for i in range(MOST_WORKERS):
        alive(valkey, f"dead-{i}", -60.0)
    workers = PulseReader(valkey, KEYS).read([]).workers
    assert len(workers) == MOST_WORKERS
    assert "the-living" in {worker.worker for worker in workers}


def test_those_that_died_of_late_are_counted(valkey: redis.Redis) -> None:
    """In the last minute and the last hour, by Redis' clock."""
    undertaker = Undertaker(valkey.connection_pool.connection_kwargs["port"])
    ids = undertaker.bury("tencent", 3)
    for id_, seconds in zip(ids, (10, 600, 7200), strict=True):
        valkey.zadd(KEYS.dead_index("tencent"), {id_: (time.time() - seconds) * 1000})
    pulse = PulseReader(valkey, KEYS).read(["tencent"]).of("tencent")
    assert (pulse.dead_last_minute, pulse.dead_last_hour) == (1, 2)
