"""The busiest second, aligned and sliding: what a provider could hold against a key."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

Spans = Sequence[Sequence[float]]  # disjoint [from, to], ascending, monotonic seconds


@dataclass(slots=True)
class Worst:
    """The most arrivals in one second; `on_time` leaves out the seconds in which the simulator was late."""

    count: int = 0
    at: float = 0.0  # monotonic: the end of a sliding second, the beginning of an aligned one
    on_time: int = 0
    on_time_at: float = 0.0
    set_aside: int = 0  # seconds left out of `on_time`

    def note(self, count: int, at: float, *, late: bool) -> None:
        """Take one more second into account."""
        if count > self.count:
            self.count, self.at = count, at
        if late:
            self.set_aside += 1
        elif count > self.on_time:
            self.on_time, self.on_time_at = count, at


class _Lateness:
    """Judge, second by second in ascending order, whether the simulator was late in it."""

    def __init__(self) -> None:
        self._next = 0

    def in_second(self, start: float, spans: Spans) -> bool:
        while self._next < len(spans) and spans[self._next][1] <= start:
            self._next += 1
        return self._next < len(spans) and spans[self._next][0] <= start + 1.0


class SecondJudge:
    """Count arrivals (never decreasing monotonic times) in every aligned and every sliding second.

    A sliding second is half open, (t - 1, t]: two arrivals exactly one second apart are never in the same.
    The worst one ends at an arrival, so only those are counted. An aligned second is one of the UNIX clock,
    which reads `offset` more than the monotonic one.
    """

    def __init__(self, offset: float) -> None:
        self._offset = offset
        self._new: deque[float] = deque()
        self._window: deque[float] = deque()
        self._lateness = _Lateness()
        self.sliding = Worst()
        self.seconds: dict[int, int] = {}  # UNIX second -> arrivals

    def arrive(self, when: float) -> None:
        """Record an arrival, to be judged once the simulator's lag at that time is known."""
        self._new.append(when)

    def advance(self, until: float, spans: Spans) -> None:
        """Judge the arrivals up to `until`; `spans` (of the simulator's lag) are complete up to there."""
        new, window, seconds = self._new, self._window, self.seconds
        while new and new[0] <= until:
            when = new.popleft()
            start = when - 1.0
            window.append(when)
            while window[0] <= start:
                window.popleft()
            self.sliding.note(len(window), when, late=self._lateness.in_second(start, spans))
            second = math.floor(when + self._offset)
            seconds[second] = seconds.get(second, 0) + 1

    def aligned(self, spans: Spans) -> Worst:
        """Return the worst aligned second of the arrivals judged so far."""
        worst, lateness = Worst(), _Lateness()
        for second, count in self.seconds.items():
            start = second - self._offset
            worst.note(count, start, late=lateness.in_second(start, spans))
        return worst
