"""Redis' clock as this process sees it."""

from __future__ import annotations

import bisect
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
        self._samples: deque[tuple[float, float]] = deque()
        self._times: list[float] = []
        """The same samples' round trips, sorted: they are asked for several times a round."""
        self._fastest = 0.0, 0.0

    def observe(self, now_us: int, asked: float, received: float) -> None:
        """Note an answer: Redis' time in us, and when it was asked for and received (`time.monotonic`)."""
        round_trip, offset = received - asked, (asked + received) / 2 - now_us / 1e6
        fastest, known = self._fastest
        if self._samples and abs(offset - known) > (round_trip + fastest) / 2 + DRIFT:
            self._samples.clear()
            self._times.clear()
        if len(self._samples) == SAMPLES:
            gone = self._samples.popleft()
            del self._times[bisect.bisect_left(self._times, gone[0])]
            if gone == self._fastest:
                self._fastest = min(self._samples)
        if not self._samples or (round_trip, offset) < self._fastest:
            self._fastest = round_trip, offset
        self._samples.append((round_trip, offset))
        bisect.insort(self._times, round_trip)

    @property
    def round_trip(self) -> float:
        """The 90th percentile of the answers' seconds, including the wait for this process; 0 before the first."""
        return self._times[len(self._times) * 9 // 10] if self._times else 0.0

    def local(self, redis_us: int) -> float:
        """Return the local monotonic time, in seconds, of a moment on Redis' clock."""
        return redis_us / 1e6 + self._fastest[1]

    monotonic = staticmethod(time.monotonic)
    """The local monotonic time in seconds."""
