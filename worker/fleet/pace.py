"""How fast each account delivers, from the books between two looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

SPAN = 5.0
"""Seconds that a pace looks back, but at least one measurement."""

MIN_INTERVAL = 0.15
"""Minimum seconds between two measurements; over less the pace would jump."""

TRAIL = 60
"""Paces kept for each account."""


class Pace:
    """Deliveries per second over the last seconds; None after one measurement, or when the books started again."""

    def __init__(self, span: float = SPAN) -> None:
        self._span_us = span * 1e6
        self._measurements: deque[tuple[int, Mapping[str, int]]] = deque()
        self._trails: dict[str, deque[float]] = {}

    def observe(self, now_us: int, delivered: Mapping[str, int]) -> None:
        """Take a measurement: what every account has delivered since its books began."""
        if self._measurements and (
            now_us <= self._measurements[-1][0] or _fell(self._measurements[-1][1], delivered)
        ):
            self._measurements.clear()
            self._trails.clear()
        if self._measurements and now_us - self._measurements[-1][0] < MIN_INTERVAL * 1e6:
            return
        self._measurements.append((now_us, delivered))
        while len(self._measurements) > 2 and now_us - self._measurements[1][0] >= self._span_us:
            self._measurements.popleft()
        for account in delivered:
            if (pace := self.of(account)) is not None:
                self._trails.setdefault(account, deque(maxlen=TRAIL)).append(pace)

    def of(self, account: str) -> float | None:
        """Return deliveries per second; None before the second measurement."""
        if len(self._measurements) < 2:
            return None
        (first_us, first), (last_us, last) = self._measurements[0], self._measurements[-1]
        done = last.get(account, 0) - first.get(account, 0)
        return round(done * 1e6 / (last_us - first_us), 1)

    def trail(self, account: str) -> tuple[float, ...]:
        """Return the account's last paces, oldest first."""
        return tuple(self._trails.get(account, ()))


def _fell(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    return any(now.get(account, 0) < count for account, count in before.items())
