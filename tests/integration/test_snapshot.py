"""One look at every account, exact in a real Redis."""

from typing import Any

import pytest
import redis

from otpreport.wire import encode
from tasks.fleet.deployment import Deployment
from tasks.fleet.last_error import LastErrors
from tasks.fleet.presence import Presence
from tasks.fleet.snapshot import AccountSnapshot, Snapshot, SnapshotReader
from tasks.keys import Keys
from tasks.keyspace import find_queues
from tasks.settlement import Ending, Finish, Schedule
from tasks.shared import ALIVE_MS
from tests.support.dead import Death, Undertaker
from tests.support.events import NOON, verification
from tests.support.queues import Fleet
from worker.fleet.unserved import unserved

KEYS = Keys()
NOON_MS = round(NOON.timestamp() * 1000)


def look(client: redis.Redis, *accounts: str) -> Snapshot:
    """Return the fleet as it is now."""
    return SnapshotReader(client, KEYS, {name: f"group-{name}" for name in accounts or ("tencent",)}).read()


def one(client: redis.Redis) -> AccountSnapshot:
    """Return the account `tencent`."""
    return next(iter(look(client).configured))


def mixture(undertaker: Undertaker) -> None:
    """Bring events to every place there is."""
    undertaker.bury("tencent", 7)
    undertaker.send("tencent", 20)
    leased = undertaker.lease("tencent", 12)
    ends = [Finish(ending) for ending in Ending]
    undertaker.settle(list(zip(leased, ends, strict=False)))
    undertaker.settle([(event, Schedule(60.0)) for event in leased[5:8]])


def test_the_books_balance_after_a_mixture(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """Every event taken stands in exactly one place, and each place has its own."""
    mixture(undertaker)
    account = one(valkey)
    assert account.places == {
        "taken": 19,
        "delivered": 1,
        "duplicate": 1,
        "skipped": 1,
        "shed": 1,
        "tracked": 1,
        "purged": 0,
        "dead": 7,
        "leased": 4,
        "scheduled": 3,
    }
    assert (account.ready, account.gap, look(valkey).gap) == (8, 0, 0)
    assert account.dead_by_reason == {"exhausted": 7}


@pytest.mark.parametrize("place", ["taken", "dead"])
def test_a_lost_record_makes_a_gap(valkey: redis.Redis, undertaker: Undertaker, place: str) -> None:
    """Negative control: one record deleted behind our back is one event missing."""
    mixture(undertaker)
    key = {"taken": KEYS.taken, "dead": KEYS.dead}[place]("tencent")
    [record, *_] = valkey.hkeys(key)
    valkey.hdel(key, record)
    assert one(valkey).gap == 1
    assert look(valkey).gap == 1


def test_gaps_of_two_accounts_do_not_cancel_out(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """One event too few here and one too many there are two faults."""
    undertaker.bury("tencent", 2)
    undertaker.bury("alibaba", 2)
    valkey.hincrby(KEYS.books, "tencent:taken", 1)
    valkey.hincrby(KEYS.books, "alibaba:taken", -1)
    assert look(valkey).gap == 2


def test_an_account_that_is_not_configured_is_seen_by_its_books(
    valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """What was taken of it still counts, marked as a stranger's."""
    undertaker.bury("gone", 2)
    snapshot = look(valkey)
    [stranger] = snapshot.unconfigured
    assert (stranger.name, stranger.dead, stranger.configured) == ("gone", 2, False)
    assert [account.name for account in snapshot.configured] == ["tencent"]


def test_age_is_that_of_the_oldest_waiting_event(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """The tail of every priority list is read, and what waits for another attempt."""
    assert one(valkey).oldest_age == 0.0
    event = verification(1)
    for i, key in enumerate(KEYS.ready("tencent")):
        younger = event.model_copy(update={"occurred_at": NOON.replace(minute=30 - 10 * i)})
        valkey.lpush(key, encode(younger, task_id=f"t{i}"))
    account = one(valkey)
    assert account.ready == 4
    assert account.oldest_ms == NOON_MS
    assert account.oldest_age == (account.now_ms - NOON_MS) / 1000
    leased = undertaker.lease("tencent", 4)
    assert one(valkey).oldest_age == 0.0
    undertaker.settle([(leased[0], Schedule(60.0))])
    assert one(valkey).oldest_ms == leased[0].first_ms


def test_a_message_that_cannot_be_read_has_no_age(valkey: redis.Redis) -> None:
    """Poison at the tail, however long, neither raises nor counts as old."""
    valkey.lpush(KEYS.ready("tencent")[0], b"\xff", b"x" * 100_000)
    account = one(valkey)
    assert (account.ready, account.oldest_ms) == (2, None)
    valkey.rpush(KEYS.ready("tencent")[0], b'{"body": 1}')
    assert one(valkey).oldest_ms is None


def test_a_suspect_counts_as_scheduled(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """An event that waits to be leased alone waits."""
    undertaker.send("tencent", 1)
    [leased] = undertaker.lease("tencent")
    valkey.zadd(KEYS.suspects("tencent"), {leased.tag: 1})
    account = one(valkey)
    assert (account.scheduled, account.leased, account.gap) == (1, 0, 0)


def test_state_and_rate_are_those_of_the_workers(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """A throttled, stopped account is shown as such; workers are those whose lease runs."""
    assert one(valkey).effective_rate(1000) == 1000
    undertaker.lease("tencent")
    valkey.zadd(KEYS.workers, {"dead-since-long": 1})
    now_us = look(valkey).now_us
    valkey.hset(KEYS.rate("group-tencent"), mapping={"rate": "100.000", "lowered_us": now_us})
    state = {"state": "stopped", "code": "AuthFailure", "message": "no", "since_ms": "5"}
    for field, value in state.items():
        valkey.hset(KEYS.account("tencent"), field, value)
    snapshot = look(valkey)
    [account] = snapshot.configured
    assert snapshot.workers == 1
    assert (account.state.name, account.state.code, account.state.since_ms) == ("refused", "AuthFailure", 5)
    assert 100 <= account.effective_rate(1000) < 1000


def test_queues_that_nobody_serves_are_found(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """A misspelt account's lists, of any priority, and what of it is scheduled; other keys are not queues."""
    undertaker.send("tencent", 1)
    undertaker.send("tencnet", 2)
    valkey.lpush(KEYS.ready("tencnet")[3], b"x")
    valkey.lpush("otpreport.T\x1b[2J", b"x")
    valkey.set("otpreport.not-a-list", "x")
    undertaker.send("gone", 1)
    undertaker.settle([(event, Schedule(60.0)) for event in undertaker.lease("gone")])
    queues = find_queues(valkey, KEYS, ["tencent"])
    assert queues.complete
    assert unserved(look(valkey), queues).named == {"T\x1b[2J": 1, "gone": 1, "tencnet": 3}
    configured = ("tencent", "tencnet", "gone", "T\x1b[2J")
    assert not unserved(look(valkey, *configured), find_queues(valkey, KEYS, configured)).named


def test_of_many_queues_that_nobody_serves_the_greatest_are_named(valkey: redis.Redis) -> None:
    """Ten at most, with the lists of all priorities together; the others are counted, and no event is left out."""
    untyped: Any = valkey
    with untyped.pipeline(transaction=False) as pipe:
        for number in range(3000):
            pipe.lpush(KEYS.ready(f"stranger{number}")[0], "x")
        for number in range(9):
            pipe.lpush(KEYS.ready(f"great{number}")[0], "x", "y")
        for list_ in KEYS.ready("misspelt"):
            pipe.lpush(list_, "x")
        pipe.execute()
    queues = find_queues(valkey, KEYS, ["tencent"])
    assert queues.named == {"misspelt": 4} | {f"great{number}": 2 for number in range(9)}
    assert (queues.more, queues.more_events, queues.events) == (3000, 3000, 3022)


@pytest.mark.parametrize("end", ["", "\x06\x163"])
def test_a_long_name_is_cut_before_it_leaves_redis(valkey: redis.Redis, end: str) -> None:
    """Whoever may send events may choose a name of many megabytes: what comes out of Redis is short."""
    valkey.lpush(f"otpreport.{'z' * 20_000_000}{end}", "x")
    untyped: Any = valkey
    sent = untyped.info("stats")["total_net_output_bytes"]
    [name] = find_queues(valkey, KEYS, ["tencent"]).named
    assert name == f"{'z' * 64}... (20000000 bytes)"
    assert untyped.info("stats")["total_net_output_bytes"] - sent < 20_000


def test_a_prefix_means_itself_alone(valkey: redis.Redis) -> None:
    """Nothing in a name is read as a pattern."""
    valkey.lpush("axb:otpreport.theirs", "x")
    valkey.lpush("a?b:otpreport.ours", "x")
    assert find_queues(valkey, Keys("a?b:"), []).named == {"ours": 1}


def test_what_is_no_count_or_name_stays_in_redis(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """Books with garbage in them are read as far as they are books; strangers in them are bounded."""
    undertaker.bury("tencent", 1)
    garbage = {"tencent:taken:x": "1", "tencent:shed": "many", "tencent:skipped": "9" * 400, "no-colon": "1"}
    garbage |= {f"{'n' * 5_000_000}:taken": "1", f"tencent:{'w' * 5_000_000}": "1"}
    garbage |= {f"stranger{number}:skipped": "1" for number in range(500)}
    untyped: Any = valkey
    untyped.hset(KEYS.books, mapping=garbage)
    valkey.hset(KEYS.account("tencent"), mapping={"state": "held", "message": "m" * 5_000_000})
    valkey.hset(KEYS.rate("group-tencent"), mapping={"rate": "quick", "override": "nan"})
    sent = untyped.info("stats")["total_net_output_bytes"]
    snapshot = look(valkey)
    assert untyped.info("stats")["total_net_output_bytes"] - sent < 100_000
    [account] = snapshot.configured
    assert (account.booked["taken"], account.dead) == (1, 1)
    assert len(list(snapshot.unconfigured)) == 100
    assert len(account.state.message) == 1000
    assert (account.rate.lowered, account.rate.override) == (None, None)


def test_a_search_without_time_says_that_it_is_not_complete(valkey: redis.Redis) -> None:
    """A database too large to be searched in time ends the search, not the patience."""
    valkey.mset({f"other:{i}": "x" for i in range(5000)})
    assert not find_queues(valkey, KEYS, [], deadline=0.0).complete
    assert find_queues(valkey, KEYS, []).complete


def test_a_death_of_each_reason_is_counted(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """Counts by reason add up to the letters kept."""
    undertaker.bury("tencent", 2)
    undertaker.bury("tencent", 1, Death(raw=b"no json"))
    account = one(valkey)
    assert sum(account.dead_by_reason.values()) == account.dead == 3


async def test_the_limit_of_requests_in_flight_is_what_living_workers_announce(fleet: Fleet) -> None:
    """The least of a group holds; one of a worker that is gone counts no more, nor does what nobody limits."""
    groups = {"tencent": "g", "second": "g", "other": "h"}
    reader = SnapshotReader(fleet.server, fleet.keys, groups)

    async def announce(worker: str, **limits: str) -> None:
        fields = {name: {"max_in_flight": limit} for name, limit in limits.items()}
        presence = Presence(fleet.client, fleet.keys, worker, LastErrors())
        for _ in range(2):  # the accounts are told when Redis has asked for them
            await presence.announce({}, Deployment(fields))

    def limits() -> list[int | None]:
        found = (one.in_flight for one in reader.read().configured)
        return [None if one is None else one.most for one in found]

    assert limits() == [None, None, None]
    await announce("w1", tencent="20", second="none", other="none")
    assert limits() == [20, 20, None]
    await announce("w2", tencent="20", second="7", other="none")
    assert limits() == [7, 7, None]
    living: dict[bytes, float] = dict(fleet.server.zrange(fleet.keys.deployments, 0, -1, withscores=True))
    fleet.server.zadd(fleet.keys.deployments, {digest: at - ALIVE_MS for digest, at in living.items()})
    await announce("w3", tencent="none", second="none", other="3")
    assert limits() == [None, None, 3]
