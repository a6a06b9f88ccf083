"""The wall clock as each provider counts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from providers.base import Answer

FAR_APART = 60.0
"""Seconds between a worker's clock and Redis' from which on an operator is warned."""

_BELIEVABLE = range(2000, 2200)
"""Years that a provider's `Date` may be of: with a time that no calendar holds nothing could be signed any more."""


class WallClock:
    """UNIX time, with a correction per account taken from the provider's own `Date` header, and beside Redis' clock."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._offsets: dict[str, float] = {}
        self.redis_ahead = 0.0
        """Seconds that Redis' clock is ahead of ours."""

    def now(self, account: str) -> float:
        """Return UNIX seconds as the account's provider counts them."""
        return self._now() + self._offsets.get(account, 0.0)

    def earliest(self, account: str) -> float:
        """Return UNIX seconds by the slowest of our clock, Redis' and the provider's: nothing expires too early."""
        return self._now() + min(0.0, self.redis_ahead, self._offsets.get(account, 0.0))

    def see_redis(self, now_us: int) -> None:
        """Take a reading of Redis' clock, in us."""
        self.redis_ahead = now_us / 1e6 - self._now()

    def earlier_ms(self) -> int:
        """Return UNIX ms by the slower of our clock and Redis', so that nothing is late too early."""
        return round((self._now() + min(0.0, self.redis_ahead)) * 1000)

    def offset(self, account: str) -> float:
        """Return the correction in seconds; 0 while the account's provider has not refused our time."""
        return self._offsets.get(account, 0.0)

    def correct(self, account: str, answer: Answer) -> bool:
        """Adopt the time of the answer; False if it has none that can be read, or none that can be now."""
        try:
            date = parsedate_to_datetime(answer.headers["date"])
        except (KeyError, ValueError, TypeError, OverflowError):
            return False
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        if date.year not in _BELIEVABLE:
            return False
        self._offsets[account] = date.timestamp() - self._now()
        return True
