"""The settings with the rate groups that are in force."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from config.account import Account, announced_account
from config.settings import Settings
from tasks.fleet.deployment import read_deployment
from tasks.keys import Keys
from tasks.limiter.admission import RateGroup
from tasks.limiter.groups import DerivedGroup, read_groups

if TYPE_CHECKING:
    from redis import Redis


def derived(settings: Settings) -> list[DerivedGroup]:
    """Return the accounts without a configured group."""
    return [
        DerivedGroup(account.name, account.provider, account.rate_group)
        for account in settings.accounts.values()
        if not account.group_is_chosen
    ]


def with_groups(settings: Settings, groups: Mapping[str, str]) -> Settings:
    """Return the settings with other rate groups for some accounts."""
    accounts = {
        name: replace(account, rate_group=groups.get(name, account.rate_group))
        for name, account in settings.accounts.items()
    }
    return settings.model_copy(update={"accounts": accounts})


def rate_groups(settings: Settings) -> dict[str, RateGroup]:
    """Return the rate group of each account; a kept one may join accounts of unequal limits: the least holds."""
    members: defaultdict[str, list[Account]] = defaultdict(list)
    for account in settings.accounts.values():
        members[account.rate_group].append(account)
    groups = {name: _group(name, accounts) for name, accounts in members.items()}
    return {account.name: groups[account.rate_group] for account in settings.accounts.values()}


def _group(name: str, accounts: Sequence[Account]) -> RateGroup:
    in_flight = [account.max_in_flight for account in accounts if account.max_in_flight is not None]
    limit = min(account.rate_limit for account in accounts)
    return RateGroup(name, limit, min(in_flight, default=None))


def in_force(settings: Settings, client: Redis) -> Settings:
    """Return the settings with the groups that the workers use; `redis.RedisError` when Redis is away.

    Settings without any account, which the commands that only read accept, get those that the workers announced.
    """
    keys = Keys(settings.key_prefix)
    if settings.accounts:
        return with_groups(settings, read_groups(client, keys, derived(settings)))
    found = {
        name: announced_account(name, fields)
        for name, fields in read_deployment(client, keys).accounts.items()
    }
    accounts = {name: account for name, account in sorted(found.items()) if account is not None}
    return settings.model_copy(update={"accounts": accounts})
