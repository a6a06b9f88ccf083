"""Redis' clock as this process sees it."""

from __future__ import annotations

import time
from collections import deque

SAMPLES = 64

DRIFT = 0.002
"""Seconds that two clocks may differ by more than the round trips explain."""


class RedisClock:
    """Map Redis' time to the local monotonic clock, by the quickest of the last answers.

    An answer stamped `now_us` by Redis was made between the moments it was asked for and received; half the round
    trip is the error, so the quickest answer knows best. One that contradicts it proves that a clock was set or has
    drifted: then what was known before counts no more.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._offset = 0.0

    def observe(self, now_us: int, asked: float, received: float) -> None:
        """Note an answer: Redis' time in us, and when it was asked for and received (`time.monotonic`)."""
        round_trip, offset = received - asked, (asked + received) / 2 - now_us / 1e6
        if self._samples and abs(offset - self._offset) > (round_trip + min(self._samples)[0]) / 2 + DRIFT:
            self._samples.clear()
        self._samples.append((round_trip, offset))
        self._offset = min(self._samples)[1]

    @property
    def round_trip(self) -> float:
        """The seconds that nine of ten answers took at most, with the wait for this process; 0 before the first."""
        times = sorted(took for took, _ in self._samples)
        return times[len(times) * 9 // 10] if times else 0.0

    def local(self, redis_us: int) -> float:
        """Return the local monotonic time, in seconds, of a moment on Redis' clock."""
        return redis_us / 1e6 + self._offset

    @staticmethod
    def monotonic() -> float:
        """Return the local monotonic time in seconds."""
        return time.monotonic()
