"""The difference between a worker's running settings and those in its files now."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

from pydantic import BaseModel

from config.account import Account
from config.settings import Settings
from providers.registry import REGISTRY

_OF_ITS_IDENTITY = ("provider", "endpoint")
_COMPARED_APART = {
    "name",
    *_OF_ITS_IDENTITY,
    "options",
    "rate_group",
    "group_is_chosen",
    "route",
    "proxy_is_chosen",
}
_OTHERS = tuple(field.name for field in fields(Account) if field.name not in _COMPARED_APART)


@dataclass(frozen=True, slots=True)
class Changes:
    """Accounts with new keys, and the settings that need a restart."""

    renewed: Mapping[str, Account]
    restart: tuple[str, ...]


def compare(running: Settings, found: Settings) -> Changes:
    """Return what can change live, credentials only, and what can not.

    New keys that come with a new endpoint, app id or region belong to it, so they wait for the restart too.
    """
    names = sorted(running.accounts.keys() | found.accounts.keys())
    pairs = {name: (running.accounts.get(name), found.accounts.get(name)) for name in names}
    restart = [
        name
        for name in Settings.model_fields
        if name != "accounts" and getattr(running, name) != getattr(found, name)
    ]
    renewed: dict[str, Account] = {}
    for name, (old, new) in pairs.items():
        if old is None or new is None:
            restart.append(f"accounts.{name}")
            continue
        fixed = list(_identity(old, new))
        restart += [f"accounts.{name}.{field}" for field in (*fixed, *_conditions(old, new))]
        if not fixed and old.options != new.options:
            renewed[name] = replace(old, options=new.options)
    return Changes(renewed, tuple(restart))


def _identity(old: Account, new: Account) -> Iterator[str]:
    """Yield the changed settings that identify what the keys belong to."""
    yield from (name for name in _OF_ITS_IDENTITY if getattr(old, name) != getattr(new, name))
    if old.provider != new.provider:
        return
    for name in type(old.options).model_fields:
        is_key = name in REGISTRY[old.provider].credentials
        if not is_key and _value(old.options, name) != _value(new.options, name):
            yield name


def _conditions(old: Account, new: Account) -> Iterator[str]:
    yield from (name for name in _OTHERS if getattr(old, name) != getattr(new, name))
    for field in fields(old.route):
        if getattr(old.route, field.name) != getattr(new.route, field.name):
            yield field.name
    if (old.group_is_chosen or new.group_is_chosen) and old.rate_group != new.rate_group:
        yield "rate_group"


def _value(options: BaseModel, name: str) -> object:
    value: object = getattr(options, name)
    return value
