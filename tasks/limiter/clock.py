"""Redis' clock as this process sees it."""

from __future__ import annotations

import time
from collections import deque

SAMPLES = 64

DRIFT = 0.002
"""Seconds that two clocks may differ by more than the round trips explain."""


class RedisClock:
    """Map Redis' time to the local monotonic clock, by the fastest of the last answers.

    Redis stamped `now_us` between the moments of the request and of the answer. The error is half the round trip, so
    the fastest answer is the most exact. One that contradicts it proves that a clock was set or has drifted: then
    the earlier samples are discarded.
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
        """The 90th percentile of the answers' seconds, including the wait for this process; 0 before the first."""
        times = sorted(took for took, _ in self._samples)
        return times[len(times) * 9 // 10] if times else 0.0

    def local(self, redis_us: int) -> float:
        """Return the local monotonic time, in seconds, of a moment on Redis' clock."""
        return redis_us / 1e6 + self._offset

    @staticmethod
    def monotonic() -> float:
        """Return the local monotonic time in seconds."""
        return time.monotonic()
