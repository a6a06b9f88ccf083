"""Lines that would repeat: each is logged at once, then at most every half a minute with how often it came."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger("otpreport")

_PAUSE = 30.0
_MOST = 100


@dataclass(slots=True)
class _Told:
    next_at: float
    more: int = 0


class Notices:
    """Warns without flooding the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def warn(self, line: str) -> None:
        """Log a line, or count it."""
        now = self._clock()
        told = self._told.get(line)
        if told is not None and now < told.next_at:
            told.more += 1
            return
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told[line] = _Told(now + _PAUSE)
        _log.warning("%s%s", line, f" ({told.more} times more since)" if told and told.more else "")
