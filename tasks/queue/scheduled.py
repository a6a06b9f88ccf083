"""The events of an account that wait for a retry or for their `eta`: read them, and end them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tasks.dead_letters.filter import matches_code
from tasks.dedupe import Fingerprint
from tasks.delivery import Leased, LeasePurpose, read
from tasks.keys import Keys
from tasks.script import Arguments, text_of
from tasks.shared import MAX_BYTES
from tasks.stored import text

if TYPE_CHECKING:
    from redis import Redis

PAGE = 200
"""Events read, or ended, in one call."""

BYTES = 1_000_000
"""Bytes of records read in one call, and one record at least."""

LONGEST = 4 * MAX_BYTES
"""Bytes that are read of one record: its history and its message."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event in the schedule, its `score` as stored; an unreadable one counts as occurred when it was taken."""

    tag: str
    score: str
    eta: bool
    """Whether it waits for its `eta`; otherwise it waits for another attempt."""
    code: str
    """The code of the last attempt, or of the last failure to send; empty if there was none."""
    occurred_ms: int
    claim: str

    @classmethod
    def of(cls, account: str, tag: str, score: str, record: bytes) -> Waiting:
        """Read a record; one that is not a readable event has no claim."""
        leased = Leased.parse(account, tag, record, LeasePurpose.SHED)
        event = read(leased, now_ms=0).event
        last = leased.history.last
        return cls(
            tag,
            score,
            eta=float(score) % 1 == 0.5,
            code=last.code if last else "",
            occurred_ms=event.occurred_at_ms if event else leased.first_ms,
            claim=Fingerprint.of(account, event.message_id).claim if event else "",
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter for events in the schedule; an empty set and None match everything. Codes may hold * and ?."""

    codes: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    eta: bool | None = None

    def matches(self, event: Waiting) -> bool:
        """Return whether an event matches; times are of `occurred_at`, both ends included."""
        if self.eta is not None and event.eta != self.eta:
            return False
        if self.since_ms is not None and event.occurred_ms < self.since_ms:
            return False
        if self.until_ms is not None and event.occurred_ms > self.until_ms:
            return False
        return matches_code(event.code, self.codes)


class ScheduledEvents:
    """An account's schedule; every call raises `redis.RedisError` when Redis is away, or a key can't be used."""

    def __init__(self, client: Redis, keys: Keys, account: str) -> None:
        self._client = client
        self._account = account
        self._places = [keys.scheduled(account), keys.taken(account)]
        self._booked = [*self._places, keys.aged(account), keys.claims, keys.books]
        self._read_script = client.register_script(text_of("queue/scheduled.lua"))
        self._drop_script = client.register_script(text_of("queue/drop.lua"))

    def events(self, wanted: Wanted) -> Iterator[Waiting]:
        """Yield the events; as with SCAN, one may appear twice, and one added or removed meanwhile may be missing."""
        untyped: Any = self._client
        cursor: int | None = None
        while cursor != 0:
            cursor, page = untyped.zscan(self._places[0], cursor or 0, count=PAGE)
            yield from filter(wanted.matches, self._read([tag for tag, _ in page]))

    def drop(self, events: Iterable[Waiting]) -> Iterator[int]:
        """End events and book them as purged; yield how many after each call. Events that a worker took stay."""
        batch: list[Waiting] = []
        for event in events:
            batch.append(event)
            if len(batch) == PAGE:
                yield self._drop(batch)
                batch = []
        if batch:
            yield self._drop(batch)

    def _drop(self, batch: Iterable[Waiting]) -> int:
        arguments: Arguments = [self._account]
        for event in batch:
            arguments += (event.tag, event.score, event.claim)
        return cast("int", self._drop_script(self._booked, arguments))

    def _read(self, tags: list[bytes]) -> Iterator[Waiting]:
        while tags:
            arguments: Arguments = [BYTES, LONGEST, *tags]
            looked_at, *words = cast("list[bytes]", self._read_script(self._places, arguments))
            for i in range(0, len(words), 3):
                yield Waiting.of(self._account, text(words[i]), text(words[i + 1]), words[i + 2])
            tags = tags[int(looked_at) :]
