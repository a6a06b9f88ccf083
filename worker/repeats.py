"""Repeated log lines: logged once, then now and then with a count, and once when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

INTERVAL = 30.0
"""Seconds between two lines that say the same."""


@dataclass(slots=True)
class Episode:
    """A repeated event: when it was last logged, when it last happened, how often in between."""

    logged_at: float
    last: float
    times: int = 0


class Repeats:
    """The repeated events, by name; `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic, *, every: float = INTERVAL) -> None:
        self._now = now
        self._every = every
        self._episodes: dict[str, Episode] = {}

    def happened(self, name: str) -> int | None:
        """Count one; return how many since the last log line if it is time for a line, else None."""
        now = self._now()
        episode = self._episodes.setdefault(name, Episode(now - self._every, now))
        episode.times += 1
        episode.last = now
        if now - episode.logged_at < self._every:
            return None
        times, episode.times, episode.logged_at = episode.times, 0, now
        return times

    def over(self, *, quiet: float) -> list[str]:
        """Forget the events that have not happened for `quiet` seconds, and return their names."""
        if not self._episodes:
            return []
        since = self._now() - quiet
        ended = [name for name, episode in self._episodes.items() if episode.last <= since]
        for name in ended:
            del self._episodes[name]
        return ended
