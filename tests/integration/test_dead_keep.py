"""Dead letters end: by age, by number, and within their part of Redis' memory; the books stay exact."""

from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import redis
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from tasks.dead_letters.filter import Filter
from tasks.dead_letters.keep import AT_ONCE, Bounds, Keeper, ignore
from tasks.dead_letters.store import DeadLetters, ReplayPace
from tasks.fleet.snapshot import AccountSnapshot, SnapshotReader
from tests.support.dead import bury_many
from tests.support.events import verification
from tests.support.queues import Fleet, alter
from worker.embedded import EmbeddedValkey
from worker.fleet.endings import endings

DAY = 86_400_000


def bury(
    fleet: Fleet, number: int, account: str = "tencent", *, days: float = 0.0, size: int = 0
) -> list[str]:
    """Let so many events be dead letters for so many days, each with so many bytes more."""
    ids = bury_many(fleet.server, [verification(n, account) for n in range(number)])
    for id_ in ids:
        if days:
            fleet.server.zadd(
                fleet.keys.dead_index(account), {id_: fleet.now_us() // 1000 - round(days * DAY)}
            )
        if size:
            letter = fleet.server.hget(fleet.keys.dead(account), id_)
            fleet.server.hset(fleet.keys.dead(account), id_, letter + b"x" * size)
    return ids


class Kept:
    """A keeper that counts what it removes."""

    def __init__(self, fleet: Fleet, *accounts: str, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - frozen
        self.removed: Counter[tuple[str, str]] = Counter()
        self.faults: set[str] = set()
        names = accounts or ("tencent",)
        self.keeper = Keeper(
            fleet.client, fleet.keys, names, bounds, self._note, on_faults=self.faults.update, pause=0.0
        )

    def _note(self, account: str, bound: str, letters: int) -> None:
        self.removed[account, bound] += letters

    async def keep(self) -> Counter[tuple[str, str]]:
        """Remove what is to go and return how much, by account and bound."""
        self.removed.clear()
        await self.keeper.keep()
        return self.removed


def seen(fleet: Fleet, name: str = "tencent") -> AccountSnapshot:
    """Return the account as operators see it."""
    snapshot = SnapshotReader(fleet.server, fleet.keys, {"tencent": "g", "alibaba": "g"}).read()
    return next(account for account in snapshot.accounts if account.name == name)


def check(fleet: Fleet, dead: int, purged: int, name: str = "tencent") -> None:
    """Hold every place that knows of an account's dead letters against each other."""
    account, keys = seen(fleet, name), fleet.keys
    assert (account.dead, account.gap) == (dead, 0)
    assert account.booked.get("purged", 0) == purged
    assert sum(account.dead_by_reason.values()) == dead
    assert fleet.server.zcard(keys.dead_index(name)) == dead


async def test_old_ones_go(fleet: Fleet) -> None:
    """Those older than the bound, in as many steps as it takes, and booked; younger ones stay."""
    bury(fleet, 2 * AT_ONCE + 7, days=31)
    young = bury(fleet, 50, days=29)
    assert await Kept(fleet).keep() == {("tencent", "age"): 2 * AT_ONCE + 7}
    check(fleet, 50, 2 * AT_ONCE + 7)
    assert {id_.decode() for id_ in fleet.server.hkeys(fleet.keys.dead("tencent"))} == set(young)
    assert await Kept(fleet).keep() == {}


async def test_too_many_go_the_oldest_first(fleet: Fleet) -> None:
    """Each account has its own number."""
    old = bury(fleet, 30, days=2)
    new = bury(fleet, 100, days=1)
    bury(fleet, 90, "alibaba")
    assert await Kept(fleet, "tencent", "alibaba", bounds=Bounds(count=100)).keep() == {
        ("tencent", "count"): 30
    }
    check(fleet, 100, 30)
    check(fleet, 90, 0, "alibaba")
    left = {id_.decode() for id_ in fleet.server.hkeys(fleet.keys.dead("tencent"))}
    assert left == set(new)
    assert not left & set(old)


async def test_those_of_an_account_that_is_configured_no_longer_end_as_well(fleet: Fleet) -> None:
    """Nobody else would ever remove them."""
    bury(fleet, 5, "former", days=31)
    assert await Kept(fleet).keep() == {("former", "age"): 5}
    check_former = SnapshotReader(fleet.server, fleet.keys, {"former": "g"}).read().gap
    assert check_former == 0


async def test_what_waits_to_be_sent_again_stays(fleet: Fleet) -> None:
    """However old, and however many such ones stand in front; what was recalled goes."""
    waiting = bury(fleet, 2 * AT_ONCE, days=40)
    bury(fleet, 10, days=31)
    letters = DeadLetters(fleet.server, fleet.keys)
    chosen = [letter for letter in letters.letters(Filter()) if letter.id in set(waiting)]
    assert sum(letters.replay(chosen, {"tencent": ReplayPace(0.2, "g", 500)})) == 2 * AT_ONCE
    assert await Kept(fleet).keep() == {("tencent", "age"): 10}
    check(fleet, 2 * AT_ONCE, 10)
    assert sum(letters.recall(chosen[:5])) == 5
    assert await Kept(fleet).keep() == {("tencent", "age"): 5}
    check(fleet, 2 * AT_ONCE - 5, 15)
    assert fleet.server.zcard(fleet.keys.replays("tencent")) == 2 * AT_ONCE - 5


async def test_without_that_look_they_would_go(fleet: Fleet) -> None:
    """It is the look at what waits that keeps a replay."""
    bury(fleet, 10, days=40)
    letters = DeadLetters(fleet.server, fleet.keys)
    assert sum(letters.replay(letters.letters(Filter()), {"tencent": ReplayPace(0.2, "g", 500)})) == 10
    kept = Kept(fleet)
    alter(kept.keeper, "_script", "dead_letters/keep.lua", "or -1) == died then", "or -1) == 0 then")
    assert await kept.keep() == {("tencent", "age"): 10}


async def test_records_of_strangers_go_too(fleet: Fleet) -> None:
    """What was not written by us, and an index without its letter, break nothing."""
    keys = fleet.keys
    fleet.server.hset(keys.dead("tencent"), "foreign", b"\xff\x00 no letter")
    fleet.server.zadd(keys.dead_index("tencent"), {"foreign": 1, "lost": 2})
    await Kept(fleet).keep()
    assert not fleet.server.exists(keys.dead("tencent"), keys.dead_index("tencent"), keys.dead_reasons)
    assert fleet.books()["purged"] == 1


@pytest.mark.parametrize("kind", ["dead", "dead_index", "replays", "dead_keep"])
async def test_a_wrong_key_keeps_the_letters_of_its_own_account(fleet: Fleet, kind: str) -> None:
    """It is named, also by who looks in vain; those of other accounts go, and its own once it is gone."""
    for account in ("tencent", "alibaba"):
        bury(fleet, 3, account, days=31)
    key = getattr(fleet.keys, kind)("tencent")
    if kept := bool(fleet.server.exists(key)):
        fleet.server.rename(key, "aside")
    fleet.server.set(key, "x")
    keeping = Kept(fleet, "tencent", "alibaba")
    assert await keeping.keep() == {("alibaba", "age"): 3}
    assert [fault.partition(": ")[0] for fault in keeping.faults] == [key]
    fleet.server.delete(key)
    if kept:
        fleet.server.rename("aside", key)
    assert await keeping.keep() == {("tencent", "age"): 3}
    check(fleet, 0, 3)


@pytest.mark.parametrize("kind", ["books", "dead_reasons", "maintenance"])
async def test_a_wrong_shared_key_costs_no_letter(fleet: Fleet, kind: str) -> None:
    """Nothing is taken before it can be put: the key is named, and all letters stay until it is gone."""
    bury(fleet, 3, days=31)
    key = getattr(fleet.keys, kind)
    if kept := bool(fleet.server.exists(key)):
        fleet.server.rename(key, "aside")
    fleet.server.set(key, "x")
    keeping = Kept(fleet)
    assert await keeping.keep() == {}
    assert [fault.partition(": ")[0] for fault in keeping.faults] == [key]
    fleet.server.delete(key)
    if kept:
        fleet.server.rename("aside", key)
    check(fleet, 3, 0)
    assert await keeping.keep() == {("tencent", "age"): 3}


@pytest.mark.parametrize(("hash_", "field"), [("books", "purged"), ("dead_reasons", "exhausted")])
async def test_a_count_that_is_none_keeps_the_letters_of_its_own_account(
    fleet: Fleet, hash_: str, field: str
) -> None:
    """What can't be booked stays, and is named; those of other accounts go."""
    for account in ("tencent", "alibaba"):
        bury(fleet, 3, account, days=31)
    key = getattr(fleet.keys, hash_)
    before = fleet.server.hget(key, f"tencent:{field}")
    fleet.server.hset(key, f"tencent:{field}", "many")
    keeping = Kept(fleet, "tencent", "alibaba")
    assert await keeping.keep() == {("alibaba", "age"): 3}
    assert keeping.faults == {f"{key} tencent:{field}: ERR it is no number"}
    fleet.server.hset(key, f"tencent:{field}", before or 0)
    check(fleet, 3, 0)


async def test_without_the_look_one_account_keeps_those_of_all(fleet: Fleet) -> None:
    """It is the look at an account's keys that lets the others' letters go."""
    fleet.server.set(fleet.keys.dead_index("tencent"), "x")
    bury(fleet, 3, "alibaba", days=31)
    keeping = Kept(fleet, "tencent", "alibaba")
    alter(
        keeping.keeper,
        "_script",
        "dead_letters/keep.lua",
        "if is_sound(account) then keep",
        "if true then keep",
    )
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await keeping.keep()


async def test_nonsense_in_what_was_noted_of_them_removes_nothing(fleet: Fleet) -> None:
    """A mean size and a place to go on that can't be are measured and begun anew."""
    bury(fleet, 3)
    for nonsense in ("1e300", "x", "-1", "0", "1.5", "nan"):
        fleet.server.hset(fleet.keys.dead_keep("tencent"), mapping={"mean": nonsense, "from": nonsense})
        assert await Kept(fleet).keep() == {}
    check(fleet, 3, 0)


async def test_only_one_worker_looks(fleet: Fleet) -> None:
    """Others that ask within seconds do nothing; Redis' clock that was set back keeps nobody from it."""
    bury(fleet, 3, days=31)
    fleet.server.hset(fleet.keys.maintenance, "dead_kept_ms", fleet.now_us() // 1000)
    said: list[str] = []
    keeper = Keeper(fleet.client, fleet.keys, ["tencent"], Bounds(), ignore, on_faults=said.extend)
    await keeper.keep()
    check(fleet, 3, 0)
    fleet.server.hset(fleet.keys.maintenance, "dead_kept_ms", fleet.now_us() // 1000 + 3_600_000)
    await keeper.keep()
    check(fleet, 0, 3)
    assert not said


@pytest.fixture
async def small(valkey_server: EmbeddedValkey) -> AsyncGenerator[Fleet]:
    """Yield workers on a Redis that holds 24 MB more than it does empty."""
    server: Any = redis.Redis(port=valkey_server.port)
    used = int(server.info("memory")["used_memory"])
    server.config_set("maxmemory", used + 24_000_000)
    server.config_set("maxmemory-policy", "noeviction")
    async with Redis(port=valkey_server.port) as client:
        yield Fleet(client, server)
    server.close()


async def fill(fleet: Fleet, kept: Kept | None) -> None:
    """Let four times as many events die as Redis can hold, with a look now and then, and enqueue others meanwhile."""
    settle = fleet.server.register_script(
        "#!lua flags=allow-oom\nfor i = 1, 100 do local id = ARGV[1] .. ':w:' .. (ARGV[2] + i) "
        "redis.call('HSET', KEYS[1], id, ARGV[3]) redis.call('ZADD', KEYS[2], ARGV[2] + i, id) end "
        "redis.call('HINCRBY', KEYS[3], ARGV[1] .. ':permanent', 100) "
        "redis.call('HINCRBY', KEYS[4], ARGV[1] .. ':taken', 100)"
    )
    letter = b'{"id":"x","account":"x","reason":"permanent"}\n' + b"x" * 3000
    now_ms, keys = fleet.now_us() // 1000, fleet.keys
    for number in range(320):
        account = ("tencent", "alibaba")[number % 2]
        places = [keys.dead(account), keys.dead_index(account), keys.dead_reasons, keys.books]
        settle(places, [account, now_ms + 100 * number, letter])
        if kept and number % 5 == 0:
            await kept.keep()
        fleet.send_many(1)


async def test_dead_letters_do_not_fill_redis(small: Fleet) -> None:
    """They take a third of it, each account half of that; events are enqueued meanwhile, and the books are exact."""
    await fill(small, kept := Kept(small, "tencent", "alibaba"))
    await kept.keep()
    memory = int(small.server.info("memory")["maxmemory"])
    for name in ("tencent", "alibaba"):
        account = seen(small, name)
        assert 0.5 < account.kept_shares["memory"] <= 1.01
        used = small.server.memory_usage(small.keys.dead(name), samples=0)
        used += small.server.memory_usage(small.keys.dead_index(name), samples=0)
        assert 0.5 * memory / 6 < used < 1.1 * memory / 6
        check(small, account.dead, 16_000 - account.dead, name)


async def test_without_that_part_they_fill_redis(small: Fleet) -> None:
    """It is the removal that leaves room to enqueue."""
    with pytest.raises(OutOfMemoryError):
        await fill(small, None)


async def test_a_worker_that_may_not_ask_for_the_memory_keeps_the_other_bounds(small: Fleet) -> None:
    """A Redis without INFO for its users has no bound in bytes."""
    small.server.acl_setuser("default", enabled=True, nopass=True, commands=["-info"])
    bury(small, 3, days=31)
    assert await Kept(small).keep() == {("tencent", "age"): 3}


async def test_it_is_told_before_they_go(fleet: Fleet) -> None:
    """Three days before their age, and from nine tenths of a bound on."""
    bury(fleet, 7, days=28)
    bury(fleet, 2, days=20)
    assert list(endings(seen(fleet))) == [], "no worker has looked yet"
    await Kept(fleet, bounds=Bounds(count=10)).keep()
    account = seen(fleet)
    assert (account.kept.ending, account.kept_shares) == (7, {"count": 0.9})
    assert list(endings(account)) == [
        "7 dead letters of tencent reach the maximum age of 30d within 3d and will be removed",
        "the dead letters of tencent are 90% of the number kept (DEAD_KEEP_COUNT): at 100% the oldest are removed",
    ]


async def test_a_short_life_is_not_told_all_the_time(fleet: Fleet) -> None:
    """Where letters are kept for a day, three days before their end would be always: the last tenth is told."""
    bury(fleet, 7, days=0.5)
    bury(fleet, 2, days=0.95)
    await Kept(fleet, bounds=Bounds(age=86_400.0)).keep()
    assert seen(fleet).kept.ending == 2
