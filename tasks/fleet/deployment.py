"""The accounts in each worker's settings: two deployments on one Redis must not differ in them for long."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from tasks.keys import Keys
from tasks.shared import MOST_DEPLOYMENTS

if TYPE_CHECKING:
    from redis import Redis

Fields = Mapping[str, str]
"""What the settings say of one account, by the setting's name; nothing secret."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The accounts of a worker's settings; workers with the same ones have the same digest."""

    accounts: Mapping[str, Fields]

    @property
    def digest(self) -> str:
        """A short name for all of it."""
        return hashlib.sha256(orjson.dumps(self.accounts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def encode(self) -> dict[str, bytes]:
        """Return the stored form, by account."""
        return {name: orjson.dumps(fields) for name, fields in self.accounts.items()}

    @classmethod
    def decode(cls, flat: Sequence[bytes]) -> Deployment:
        """Read the stored form, names and values alternating; unreadable fields are left out."""
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return cls({name.decode(errors="backslashreplace"): _fields(raw) for name, raw in pairs})


def read_deployment(client: Redis, keys: Keys) -> Deployment:
    """Return the accounts that workers announced, the newest of each; `redis.RedisError` when Redis is away."""
    untyped: Any = client
    digests: list[bytes] = untyped.zrange(keys.deployments, -MOST_DEPLOYMENTS, -1)
    accounts: dict[str, Fields] = {}
    for digest in digests:
        fields: dict[bytes, bytes] = untyped.hgetall(keys.deployment(digest.decode(errors="replace")))
        accounts |= Deployment.decode([word for pair in fields.items() for word in pair]).accounts
    return Deployment(accounts)


def _fields(raw: bytes) -> Fields:
    try:
        found: object = orjson.loads(raw)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def differences(deployments: Iterable[Deployment]) -> dict[str, str]:
    """Return, for each account that several have and not all alike, what differs and how."""
    seen: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for deployment in deployments:
        for account, fields in deployment.accounts.items():
            for name, value in fields.items():
                seen[account][name].add(value)
    found: dict[str, str] = {}
    for account, names in sorted(seen.items()):
        parts = [f"{name} {' or '.join(sorted(values))}" for name, values in names.items() if len(values) > 1]
        if parts:
            found[account] = ", ".join(parts)
    return found
