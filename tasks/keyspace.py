"""What Redis itself knows: which accounts have keys, which queues no worker serves, and the time."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ResponseError

from otpreport.wire import NOTICES, queue_name
from tasks.keys import Keys
from tasks.script import text_of

if TYPE_CHECKING:
    from redis import Redis

STEP = 1000
"""Keys that Redis examines in one SCAN call."""


MOST_NAMED = 10
"""Queues without an account that are listed by name; the others are counted."""


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues of accounts that are not configured; not `complete` when there was no time for every key.

    `named`: those with the most events, and how many; beside these `more` queues with `more_events` in them.
    """

    named: Mapping[str, int] = field(default_factory=dict[str, int])
    more: int = 0
    more_events: int = 0
    complete: bool = False

    @property
    def events(self) -> int:
        """How many events are in queues without a worker."""
        return sum(self.named.values()) + self.more_events

    def with_more(self, found: Mapping[str, int], more: int = 0, events: int = 0) -> Queues:
        """Return these and others; again the greatest alone are named."""
        both = dict(self.named)
        for name, waiting in found.items():
            both[name] = both.get(name, 0) + waiting
        greatest_first = sorted(both.items(), key=lambda item: (-item[1], item[0]))
        rest = greatest_first[MOST_NAMED:]
        return replace(
            self,
            named=dict(greatest_first[:MOST_NAMED]),
            more=self.more + more + len(rest),
            more_events=self.more_events + events + sum(waiting for _, waiting in rest),
        )


def accounts_with(client: Redis, key_prefix: str) -> list[str]:
    """Return the accounts that have a key of this kind, e.g. `keys.dead_index("")`; it looks at every key."""
    untyped: Any = client
    found: Iterator[bytes] = untyped.scan_iter(match=f"{key_prefix}*", count=STEP)
    return sorted({_text(key)[len(key_prefix) :] for key in found})


def find_queues(client: Redis, keys: Keys, configured: Iterable[str], *, deadline: float = 10.0) -> Queues:
    """Scan the whole database for queues that no worker serves, for at most `deadline` seconds.

    The names are cut in Redis: senders choose them, and a name may be as long as Redis allows.
    """
    script = client.register_script(text_of("queues.lua"))
    accounts = [name for account in configured for name in (account, account + NOTICES)]
    start = keys.prefix + queue_name("")
    queues, cursor = Queues(), b"0"
    end = time.monotonic() + deadline
    while True:
        arguments: list[str | bytes | int] = [start, cursor, STEP, MOST_NAMED, *accounts]
        reply = script([], arguments)
        cursor, more, events, named = cast("tuple[bytes, int, int, list[bytes]]", reply)
        found = {_text(name): int(waiting) for name, waiting in zip(named[::2], named[1::2], strict=True)}
        queues = queues.with_more(found, more, events)
        if cursor == b"0" or time.monotonic() > end:
            return replace(queues, complete=cursor == b"0")


_OF_A_KEY = re.compile(r"\bkeys?\b")


@contextmanager
def naming(key: str) -> Generator[None]:
    """Name the key in what Redis says of it: that it is of a wrong type, or forbidden."""
    try:
        yield
    except ResponseError as error:
        if not _OF_A_KEY.search(str(error)):
            raise
        raise type(error)(f"{error} ({key})") from error


def redis_time_us(client: Redis) -> int:
    """Return Redis' time in microseconds."""
    untyped: Any = client
    now: tuple[int, int] = untyped.time()
    return now[0] * 1_000_000 + now[1]


def _text(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
