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
class _Repeated:
    next_at: float
    more: int = 0


class Notices:
    """Warns without flooding the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: dict[str, _Repeated] = {}

    def warn(self, line: str) -> None:
        """Log a line, or count it."""
        now = self._clock()
        repeated = self._lines.get(line)
        if repeated is not None and now < repeated.next_at:
            repeated.more += 1
            return
        if len(self._lines) >= _MOST:
            self._lines.clear()
        self._lines[line] = _Repeated(now + _PAUSE)
        _log.warning(
            "%s%s", line, f" ({repeated.more} times more since)" if repeated and repeated.more else ""
        )
