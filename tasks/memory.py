"""What Redis remembers of delivered events, read from outside the workers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.dedupe import Fingerprint, Remembered
from tasks.keys import Keys
from tasks.keyspace import redis_time_us
from tasks.shared import GENERATIONS
from tasks.stored import integer, number, text

if TYPE_CHECKING:
    from redis import Redis

AT_ONCE = 200
"""Events looked up in one round trip."""


@dataclass(frozen=True, slots=True)
class DeliverySpan:
    """A remembered delivery: between which times (ms of Redis' clock), and what the event said."""

    from_ms: int
    until_ms: int
    verified: bool


class DeliveredMemory:
    """The sets of delivered events; every call raises `redis.RedisError` when Redis is away."""

    def __init__(self, client: Redis, keys: Keys, remembered: Remembered) -> None:
        self._client: Any = client
        self._keys = keys
        self._own = remembered.width

    def since_ms(self) -> int:
        """Return the time since which every delivery is remembered."""
        now = redis_time_us(self._client) / 1_000_000
        reaches = [min(2 * width, now - since) for width, since in self._widths().items()]
        return round((now - max(reaches)) * 1000)

    def recall(self, account: str, message_id: str) -> Iterator[DeliverySpan]:
        """Yield what is remembered of an event: delivered as true, as false, or both."""
        fingerprint = Fingerprint.of(account, message_id)
        now = redis_time_us(self._client) / 1_000_000
        spans = self._spans(now)
        for verified in (True, False):
            member = fingerprint.member(verified=verified)
            known = self._look(self._places(spans, fingerprint.bucket, member))
            found = [span for span, is_known in zip(spans, known, strict=True) if is_known]
            if found:
                yield DeliverySpan(*self._between(found, now), verified)

    def known(self, events: Iterable[tuple[Fingerprint, bool]]) -> list[bool]:
        """Return for each event, and whether it says true, if its delivery is remembered."""
        spans = self._spans(redis_time_us(self._client) / 1_000_000)
        answers: list[bool] = []
        rest = iter(events)
        while batch := list(itertools.islice(rest, AT_ONCE)):
            places = [
                place
                for fingerprint, verified in batch
                for place in self._places(spans, fingerprint.bucket, fingerprint.member(verified=verified))
            ]
            found = self._look(places)
            answers += [any(found[i : i + len(spans)]) for i in range(0, len(found), len(spans))]
        return answers

    def _places(
        self, spans: Sequence[tuple[int, int]], bucket: int, member: str
    ) -> Iterator[tuple[str, str]]:
        for _, generation in spans:
            yield self._keys.done(generation, bucket), member

    def _look(self, places: Iterable[tuple[str, str]]) -> list[bool]:
        pipe = self._client.pipeline(transaction=False)
        for key, member in places:
            pipe.sismember(key, member)
        return [bool(answer) for answer in pipe.execute()]

    def _spans(self, now: float) -> list[tuple[int, int]]:
        """Return each generation that exists: its width (s), and its number."""
        return [
            (width, math.floor(now / width) - age) for width in self._widths() for age in range(GENERATIONS)
        ]

    def _between(self, found: Sequence[tuple[int, int]], now: float) -> tuple[int, int]:
        """Return from when until when (ms) it was that what is in all these generations was written."""
        start = max(generation * width for width, generation in found)
        end = min((generation + 1) * width for width, generation in found)
        return start * 1000, min(end * 1000, round(now * 1000))

    def _widths(self) -> dict[int, float]:
        """Return the widths in use, each with the time (s) since which all deliveries are written under it."""
        widths: dict[int, float] = {}
        for name in self._client.zrange(self._keys.remembered, 0, -1):
            width, _, since = text(name).partition(":")
            if seconds := integer(width):
                widths[seconds] = number(since) or 0.0
        return widths or {self._own: 0.0}
