"""The provider's clock."""

from __future__ import annotations

import time
from email.utils import formatdate


class Clock:
    """UNIX time by the monotonic clock, so that a step of the system's clock moves no arrival."""

    def __init__(self) -> None:
        self.offset = time.time() - time.monotonic()  # UNIX seconds at monotonic 0, true
        self.ahead = 0.0  # seconds by which the provider's clock is wrong
        self._second = 0
        self._date = b""

    def now(self, monotonic: float) -> float:
        """Return the provider's UNIX time in seconds at a monotonic time."""
        return monotonic + self.offset + self.ahead

    def date(self, monotonic: float) -> bytes:
        """Return the value of a Date header."""
        second = int(self.now(monotonic))
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True).encode()
        return self._date
