"""The circuit breaker of an account: what opens it, and the counts of calls that Redis judges it by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from providers.base import Outcome, Result

UNANSWERED = frozenset({Result.TRANSIENT, Result.UNKNOWN, Result.NOT_SENT})
"""The results of an outage; any other answer comes from a provider that works."""

_NOT_SENT, _UNKNOWN = Result.NOT_SENT, Result.UNKNOWN  # Python 3.11 takes 80 ns to find a member

SLOW = 5.0
"""Seconds from which on a call counts as failed."""

PROBE_INTERVAL = 30.0
"""Seconds between two probes of a stopped account; of an open breaker it is `Breaker.probe_interval`."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """When an account's breaker opens, for all workers at once.

    It opens when at least `calls` calls ended in the last ten seconds, and a share of `failures` of them failed or took
    at least `slow` seconds. For an account with fewer calls it opens when `run` calls in a row, of two events or more,
    failed over at least `run_time` seconds. Then it is probed every `probe_interval` seconds, after a while less
    often. With `calls` 0 it never opens.
    """

    failures: float = 0.5
    calls: int = 20
    slow: float = SLOW
    run: int = 5
    run_time: float = 3.0
    probe_interval: float = 5.0

    def arguments(self) -> tuple[str | int, ...]:
        """Return settle.lua's arguments for the breaker."""
        times = round(self.run_time * 1000), round(self.probe_interval * 1000)
        return str(self.failures), self.calls, self.run, *times


@dataclass(slots=True)
class CallBucket:
    """Calls of one account that began in one second and ended in one.

    `failed` includes slow calls; `fresh` counts those of them whose event had not failed before, `unsent` calls that
    never left this machine, `answered` those that got an answer.
    """

    calls: int = 0
    failed: int = 0
    fresh: int = 0
    code: str = ""
    unsent: int = 0
    answered: int = 0
    message: str = ""
    """The error of the last one that never left."""


CallBuckets = Mapping[tuple[str, int, int], CallBucket]
"""By account, and the seconds of the monotonic clock in which the calls began and ended."""


@dataclass(slots=True)
class Calls:
    """The calls that ended since they were last sent to Redis."""

    slow: float = SLOW
    _buckets: dict[tuple[str, int, int], CallBucket] = field(
        default_factory=dict[tuple[str, int, int], CallBucket]
    )

    def ended(self, account: str, outcome: Outcome, began: float, seconds: float, *, fresh: bool) -> None:
        """Count a call that began at `began`, on the monotonic clock, and took `seconds`."""
        times = account, int(began), int(began + seconds)
        bucket = self._buckets.get(times)
        if bucket is None:
            bucket = self._buckets[times] = CallBucket()
        bucket.calls += 1
        result = outcome.result
        if result is _NOT_SENT:
            bucket.unsent += 1
            bucket.message = outcome.message
        elif result is not _UNKNOWN:
            bucket.answered += 1
        if result in UNANSWERED or seconds >= self.slow:
            bucket.failed += 1
            bucket.fresh += fresh
            bucket.code = outcome.code

    def take(self) -> CallBuckets:
        """Return the calls, and forget them."""
        buckets, self._buckets = self._buckets, {}
        return buckets


def call_arguments(buckets: CallBuckets) -> list[str | int]:
    """Return settle.lua's arguments for calls, with their ages at this moment."""
    now = time.monotonic()
    arguments: list[str | int] = [len(buckets)]
    for (account, began, ended), bucket in buckets.items():
        ages = round((now - began) * 1000), max(0, round((now - ended) * 1000))
        arguments += (account, bucket.calls, bucket.failed, bucket.fresh, bucket.unsent, bucket.answered)
        arguments += (*ages, bucket.code)
    return arguments
