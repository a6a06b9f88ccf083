"""What Redis itself knows: which accounts have keys, configured or not, and what time it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otpreport.wire import queue_name
from tasks.keys import Keys

if TYPE_CHECKING:
    from redis import Redis

STEP = 1000
"""Keys that Redis looks at in one SCAN call."""


@dataclass(frozen=True, slots=True)
class Queues:
    """How many messages wait in each account's lists; not `complete` when there was no time for every key."""

    lengths: dict[str, int]
    complete: bool


def accounts_with(client: Redis, key_prefix: str) -> list[str]:
    """Return the accounts that have a key of this kind, e.g. `keys.dead_index("")`; it looks at every key."""
    untyped: Any = client
    found: Iterator[bytes] = untyped.scan_iter(match=f"{key_prefix}*", count=STEP)
    return sorted({_text(key)[len(key_prefix) :] for key in found})


def find_queues(client: Redis, keys: Keys, *, deadline: float = 10.0) -> Queues:
    """Look for the lists of every account in the whole database, for at most `deadline` seconds."""
    untyped: Any = client
    name = keys.prefix + queue_name("")
    lengths: dict[str, int] = {}
    seen: set[bytes] = set()
    end, cursor = time.monotonic() + deadline, 0
    while True:
        reply: tuple[int, list[bytes]] = untyped.scan(cursor, match=f"{name}*", count=STEP, _type="LIST")
        cursor, found = reply
        for key in set(found) - seen:  # SCAN may return a key twice
            account = _text(key)[len(name) :].partition("\x06\x16")[0]
            lengths[account] = lengths.get(account, 0) + client.llen(key)
        seen.update(found)
        if cursor == 0 or time.monotonic() > end:
            return Queues(lengths, complete=cursor == 0)


def redis_time_us(client: Redis) -> int:
    """Return Redis' time in microseconds."""
    untyped: Any = client
    now: tuple[int, int] = untyped.time()
    return now[0] * 1_000_000 + now[1]


def _text(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
