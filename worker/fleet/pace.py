"""How fast each account delivers, from the books between two looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

SPAN = 5.0
"""Seconds that a pace looks back, at least one look."""

MIN_INTERVAL = 0.15
"""Seconds between two looks that are compared: on less a pace would jump."""

TRAIL = 60
"""Paces that are kept of each account."""


class Pace:
    """Deliveries a second over the last seconds; none after one look, or where the books began anew."""

    def __init__(self, span: float = SPAN) -> None:
        self._span_us = span * 1e6
        self._looks: deque[tuple[int, Mapping[str, int]]] = deque()
        self._trails: dict[str, deque[float]] = {}

    def observe(self, now_us: int, delivered: Mapping[str, int]) -> None:
        """Note what every account has delivered since its books began."""
        if self._looks and (now_us <= self._looks[-1][0] or _fell(self._looks[-1][1], delivered)):
            self._looks.clear()
            self._trails.clear()
        if self._looks and now_us - self._looks[-1][0] < MIN_INTERVAL * 1e6:
            return
        self._looks.append((now_us, delivered))
        while len(self._looks) > 2 and now_us - self._looks[1][0] >= self._span_us:
            self._looks.popleft()
        for account in delivered:
            if (pace := self.of(account)) is not None:
                self._trails.setdefault(account, deque(maxlen=TRAIL)).append(pace)

    def of(self, account: str) -> float | None:
        """Return deliveries a second; None when there is nothing to compare."""
        if len(self._looks) < 2:
            return None
        (first_us, first), (last_us, last) = self._looks[0], self._looks[-1]
        done = last.get(account, 0) - first.get(account, 0)
        return round(done * 1e6 / (last_us - first_us), 1)

    def trail(self, account: str) -> tuple[float, ...]:
        """Return the account's paces of the last looks, oldest first."""
        return tuple(self._trails.get(account, ()))


def _fell(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    return any(now.get(account, 0) < count for account, count in before.items())
