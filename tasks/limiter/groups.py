"""The rate groups derived from key ids. They outlive the keys: a rotated key must not get a second limiter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tasks.keys import Keys
from tasks.keyspace import naming
from tasks.script import Script
from tasks.stored import text

if TYPE_CHECKING:
    import redis
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class DerivedGroup:
    """An account without a configured group: its group is derived from provider, host and key id.

    `used` is the group that a running worker uses, which Redis may have forgotten.
    """

    account: str
    provider: str
    group: str
    used: str = ""

    def kept(self, group: str) -> str:
        """Return the group in force; None if it is of another provider, which used this account name before."""
        return group if group.startswith(f"{self.provider}:") else self.group


async def settle_groups(client: Redis, keys: Keys, accounts: Iterable[DerivedGroup]) -> dict[str, str]:
    """Return the group of each account, the same for every worker; `redis.RedisError` when Redis is away."""
    listed = list(accounts)
    if not listed:
        return {}
    arguments = [word for one in listed for word in (one.account, one.provider, one.group, one.used)]
    reply: list[bytes] = await Script("limiter/groups.lua").run(client, [keys.groups], arguments)
    return {one.account: text(group) for one, group in zip(listed, reply, strict=True)}


async def are_forgotten(client: Redis, keys: Keys) -> bool:
    """Whether there are workers but no groups: Redis has lost these, and the workers are about to enter them again."""
    untyped: Any = client
    return bool(await untyped.zcard(keys.workers)) and not await untyped.exists(keys.groups)


def read_groups(client: redis.Redis, keys: Keys, accounts: Iterable[DerivedGroup]) -> Mapping[str, str]:
    """Return the groups that the workers use; changes nothing. `redis.RedisError` when Redis is away."""
    listed = list(accounts)
    if not listed:
        return {}
    untyped: Any = client
    with naming(keys.groups):
        stored = cast("list[bytes | None]", untyped.hmget(keys.groups, [f"@{one.account}" for one in listed]))
    return {
        one.account: one.kept(text(group)) if group else one.group
        for one, group in zip(listed, stored, strict=True)
    }
