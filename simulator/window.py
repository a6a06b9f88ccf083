"""The rate a key is held to."""

from __future__ import annotations

from collections import deque


class RateWindow:
    """A sliding second: a call is refused when `rate` calls were admitted in the second before it.

    Refused calls do not count. The rate may be changed at any time.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._admitted: deque[float] = deque()

    def clear(self) -> None:
        """Forget all admitted calls."""
        self._admitted.clear()

    def admit(self, now: float) -> bool:
        """Admit a call at `now` (seconds, never decreasing), or refuse it."""
        admitted = self._admitted
        while admitted and admitted[0] <= now - 1.0:
            admitted.popleft()
        if len(admitted) >= self.rate:
            return False
        admitted.append(now)
        return True
