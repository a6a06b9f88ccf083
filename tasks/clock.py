"""Redis' clock as this process sees it."""

from __future__ import annotations

import time
from collections import deque

SAMPLES = 64


class RedisClock:
    """Map Redis' time to the local monotonic clock, by the quickest of the last answers.

    An answer stamped `now_us` by Redis was made between the moments it was asked for and received; half the round
    trip is the error, so the quickest answer knows best.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._offset = 0.0

    def observe(self, now_us: int, asked: float, received: float) -> None:
        """Note an answer: Redis' time in us, and when it was asked for and received (`time.monotonic`)."""
        self._samples.append((received - asked, (asked + received) / 2 - now_us / 1e6))
        self._offset = min(self._samples)[1]

    def local(self, redis_us: int) -> float:
        """Return the local monotonic time, in seconds, of a moment on Redis' clock."""
        return redis_us / 1e6 + self._offset

    @staticmethod
    def monotonic() -> float:
        """Return the local monotonic time in seconds."""
        return time.monotonic()
