"""The wall clock as each provider counts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from providers.base import Answer


class WallClock:
    """UNIX time, with a correction per account taken from the provider's own `Date` header."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._offsets: dict[str, float] = {}

    def now(self, account: str) -> float:
        """Return UNIX seconds as the account's provider counts them."""
        return self._now() + self.offset(account)

    def earliest(self, account: str) -> float:
        """Return UNIX seconds by our clock or the provider's, whichever is behind: no event is too old too soon."""
        return self._now() + min(0.0, self.offset(account))

    def offset(self, account: str) -> float:
        """Return the correction in seconds; 0 while the account's provider has not refused our time."""
        return self._offsets.get(account, 0.0)

    def correct(self, account: str, answer: Answer) -> bool:
        """Take over the time of the answer; False when it names none that can be read."""
        try:
            date = parsedate_to_datetime(answer.headers["date"])
        except (KeyError, ValueError, TypeError):
            return False
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        self._offsets[account] = date.timestamp() - self._now()
        return True
