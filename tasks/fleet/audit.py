"""Who changed what, and when: the operators' changes, in a stream in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import orjson

from tasks.keys import Keys
from tasks.keyspace import naming
from tasks.script import text_of

if TYPE_CHECKING:
    from redis import Redis

MAX_ENTRIES = 10_000
"""Entries that are kept, approximately."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change by an operator; `at_ms` is Redis' time, `details` depend on the action."""

    id: str
    at_ms: int
    action: str
    by: str
    details: Mapping[str, object]


class Audit:
    """Write and read operators' changes; every call raises `redis.RedisError` when Redis is away."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._key = keys.audit
        self._script = client.register_script(text_of("fleet/audit.lua"))

    def record(self, action: str, *, by: str, **details: object) -> str:
        """Add one change and return the entry's id; `details` must be JSON-serialisable, None is left out."""
        given = {name: value for name, value in details.items() if value is not None}
        with naming(self._key):
            return cast(
                "bytes", self._script([self._key], [MAX_ENTRIES, action, by, orjson.dumps(given)])
            ).decode()

    def read(self, count: int | None = None) -> list[AuditEntry]:
        """Return entries, newest first: the `count` newest, None for all."""
        untyped: Any = self._client
        with naming(self._key):
            rows: list[tuple[bytes, dict[bytes, bytes]]] = untyped.xrevrange(self._key, count=count)
        return [_entry(id_.decode(), fields) for id_, fields in rows]


def _entry(id_: str, fields: Mapping[bytes, bytes]) -> AuditEntry:
    action, by = (fields.get(name, b"").decode(errors="backslashreplace") for name in (b"action", b"by"))
    return AuditEntry(id_, int(id_.partition("-")[0]), action, by, _details(fields.get(b"details", b"{}")))


def _details(text: bytes) -> Mapping[str, object]:
    """Return the details; text that is not a JSON object is returned under `unreadable`."""
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        return cast("dict[str, object]", found)
    return {"unreadable": text.decode(errors="backslashreplace")}
