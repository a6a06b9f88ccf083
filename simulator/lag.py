"""How late the simulator's own event loop is, so that it never blames others for its own stalls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

TICK = 0.002
LATE = 0.005
_REVIEW_TICKS = 50


class LagMeter:
    """A timer each 2 ms; `spans` are the times in which it came more than 5 ms late (monotonic seconds).

    A span runs from the last tick before to the first punctual tick after, so it holds the stall and what
    was read late because of it. The end of one that is still open is infinite.
    """

    def __init__(self) -> None:
        self.spans: list[list[float]] = []
        self.worst = 0.0  # seconds
        self.checked_until = 0.0
        self._due = 0.0
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._review: Callable[[], None] = lambda: None

    def start(self, review: Callable[[], None]) -> None:
        """Tick until `stop()`, calling `review` ten times a second when nothing is late."""
        self._review = review
        self._plan(asyncio.get_running_loop())

    def stop(self) -> None:
        """End the ticking."""
        if self._timer is not None:
            self._timer.cancel()

    def reset(self) -> None:
        """Reset the record of late seconds."""
        self.spans, self.worst = [], 0.0

    async def settled(self) -> None:
        """Wait until everything up to now is checked."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        self.checked_until = loop.time()
        self._due = self.checked_until + TICK
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._note(self._due, loop.time())
        self._plan(loop)
        self._ticks += 1
        if self._ticks % _REVIEW_TICKS == 0:
            self._review()
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def _note(self, due: float, now: float) -> None:
        lag = now - due
        self.worst = max(self.worst, lag)
        is_open = bool(self.spans) and self.spans[-1][1] == math.inf
        if lag > LATE and not is_open:
            self.spans.append([due - TICK, math.inf])
        elif lag <= LATE and is_open:
            self.spans[-1][1] = now
