"""The rate groups that outlive key ids."""

from collections.abc import AsyncIterator

import pytest
import redis
import redis.asyncio

import config
from tasks.keys import Keys
from tasks.limiter.groups import DerivedGroup, read_groups, settle_groups
from tests.support.admin import admin
from tests.unit.config.environment import GOOD, account
from worker.embedded import EmbeddedValkey
from worker.groups import derived, in_force, rate_groups, with_groups

K1, K2, K3 = ("tencent:sms.example:" + digest for digest in ("1", "2", "3"))
KEYS = Keys("p:")


@pytest.fixture
async def client(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> AsyncIterator[redis.asyncio.Redis]:
    """Yield an asyncio client of an empty server."""
    del valkey
    async with redis.asyncio.Redis(port=shared_valkey.port) as made:
        yield made


async def settled(client: redis.asyncio.Redis, **groups: str) -> list[str]:
    """Start a worker whose accounts' keys give these groups; return the groups in force."""
    return await entered(client, used="", **groups)


async def entered(client: redis.asyncio.Redis, used: str, **groups: str) -> list[str]:
    """Let a worker that uses a group already enter it; return the groups in force."""
    wanted = [DerivedGroup(name, group.partition(":")[0], group, used) for name, group in groups.items()]
    return list((await settle_groups(client, KEYS, wanted)).values())


@pytest.mark.parametrize(
    ("order", "shared"),
    [
        (("running", "newcomer", "behind"), K1),
        (("behind", "newcomer", "running"), K1),
        (("newcomer", "behind", "running"), K2),
    ],
)
async def test_forgotten_groups_are_entered_again(
    client: redis.asyncio.Redis, order: tuple[str, ...], shared: str
) -> None:
    """Redis lost its memory: whoever comes first, running workers and newcomers share one limiter again."""

    async def come(who: str) -> list[str]:
        match who:
            case "running":  # it had K1's limiter before its key was rotated
                return await entered(client, K1, one=K2)
            case "behind":
                return await entered(client, K1, one=K1)
            case _:
                return await settled(client, one=K2)

    for who in (*order, *order):
        assert await come(who) == [shared]


async def test_a_rotated_key_keeps_its_group(client: redis.asyncio.Redis, valkey: redis.Redis) -> None:
    """Workers that know the new key and those that know the old one share a limiter, and so do commands."""
    assert await settled(client, one=K1) == [K1]
    assert read_groups(valkey, KEYS, [DerivedGroup("one", "tencent", K2)]) == {"one": K1}
    assert await settled(client, one=K2) == [K1]
    assert await settled(client, one=K1) == [K1]
    assert await settled(client, one=K3) == [K1]


async def test_another_account_with_the_new_key_shares_it(client: redis.asyncio.Redis) -> None:
    """The provider counts by its key, so whoever comes with the key belongs to the group."""
    await settled(client, one=K1)
    await settled(client, one=K2)
    assert await settled(client, two=K2) == [K1]
    assert await settled(client, three=K1) == [K1]
    assert await settled(client, four=K3) == [K3]


async def test_an_account_that_moves_to_a_known_key_joins_it(client: redis.asyncio.Redis) -> None:
    """Two accounts that get the same key share its limiter from then on."""
    assert await settled(client, one=K1, two=K2) == [K1, K2]
    assert await settled(client, one=K2, two=K2) == [K2, K2]


async def test_a_name_that_goes_to_another_provider_starts_anew(
    client: redis.asyncio.Redis, valkey: redis.Redis
) -> None:
    """Another provider counts for itself."""
    other = "alibaba:dysms.example:9"
    await settled(client, one=K1)
    assert read_groups(valkey, KEYS, [DerivedGroup("one", "alibaba", other)]) == {"one": other}
    assert await settled(client, one=other) == [other]


async def test_reading_changes_nothing(valkey: redis.Redis) -> None:
    """A command that comes before any worker sees the groups that will be."""
    assert read_groups(valkey, KEYS, [DerivedGroup("one", "tencent", K1)]) == {"one": K1}
    assert not admin(valkey).keys("*")


async def test_only_groups_that_nobody_chose_are_kept(
    client: redis.asyncio.Redis, valkey: redis.Redis
) -> None:
    """RATE_GROUP is what it says, whatever Redis remembers; where kept groups join unequal limits, the least holds."""
    environment = (
        GOOD | account("TWO", RATE_GROUP="mine") | account("THREE", SECRET_ID="other", RATE_LIMIT="20")
    )
    settings = config.load(environment)
    groups = await settle_groups(client, Keys(), derived(settings))
    assert groups.keys() == {"tencent", "three"}
    rotated = config.load(environment | {"OTPREPORT_ACCOUNTS__TENCENT__SECRET_ID": "AKIDnew"})
    assert rotated.accounts["tencent"].rate_group != groups["tencent"]
    kept = in_force(rotated, valkey)
    assert {name: found.rate_group for name, found in kept.accounts.items()} == groups | {"two": "mine"}
    joined = with_groups(settings, {"three": groups["tencent"]})
    assert {name: group.limit for name, group in rate_groups(joined).items()} == {
        "tencent": 20, "two": 1000, "three": 20
    }  # fmt: skip


def test_the_least_limit_of_requests_in_flight_holds_for_a_group() -> None:
    """Accounts that came into one group by their keys' history share the lowest limit, not the one read last."""
    own = {
        f"OTPREPORT_ACCOUNTS__{name}__MAX_IN_FLIGHT": limit for name, limit in (("TWO", "9"), ("THREE", "4"))
    }
    two, three = (account(name, SECRET_ID=f"AKIDEXAMPLE{name}0001") for name in ("TWO", "THREE"))
    joined = with_groups(config.load(GOOD | two | three | own), dict.fromkeys(("two", "three"), "one"))
    found = rate_groups(joined)
    assert found["two"] is found["three"]
    assert (found["two"].in_flight, found["tencent"].in_flight) == (4, None)
