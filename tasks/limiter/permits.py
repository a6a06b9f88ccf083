"""Permits: how many requests of a rate group may be open at its provider, for providers that count these."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LINGER = 0.25
"""Seconds that a request without an answer keeps its permit after its end: the provider may hear of that later."""

GIVE_BACK = 0.02
"""Seconds after which Redis hears that fewer are open than it counts, if nothing else is said to it meanwhile."""

AT_ONCE_SHARE = 50
"""A worker asks again as soon as one in so many of its permits is free."""

SLACK = 1.0
"""Seconds added to the time that a request may take, before the permits of a worker that is gone are given again."""


class Permits:
    """The requests that this worker has open, or is about to open, in one rate group with MAX_IN_FLIGHT.

    Redis counts them for each worker, so that all together are never more than `most`. A request begins only with a
    slot, and each slot comes with a permit; so between two calls the number here can only fall, and what Redis counts
    is never less. `on_end` is called when it fell.
    """

    def __init__(self, most: int, on_end: Callable[[], None]) -> None:
        self.most = most
        self.open = 0
        self.counted = 0
        """How many Redis counts, at most."""
        self.short = False
        """Whether events wait that the last call gave no permit."""
        self.not_before = 0.0
        """Local time before which none is asked for, as requests of another group may be open."""
        self.report_at = 0.0
        """Local time from which on Redis should hear of those that ended."""
        self._on_end = on_end

    def end(self, *, heard: bool = True) -> None:
        """Count a request as over; one whose answer was not heard only after LINGER."""
        if heard:
            self.open -= 1
            self._on_end()
        else:
            asyncio.get_running_loop().call_later(LINGER, self.end)

    @property
    def free(self) -> int:
        """How many fewer are open than Redis counts."""
        return self.counted - self.open

    @property
    def may_ask(self) -> bool:
        """Whether events that found no permit may ask again: enough of this worker's have become free."""
        return self.short and self.free >= max(1, self.counted // AT_ONCE_SHARE)

    def owes(self, now: float) -> bool:
        """Whether Redis has to be told that fewer are open than it counts."""
        return self.free > 0 and now >= self.report_at

    def note(self, number: int, now: float, *, short: bool) -> None:
        """Note that Redis counts this many; `short`: some of the events that were asked for found no permit."""
        self.counted, self.short, self.report_at = number, short, now + GIVE_BACK

    def unheard(self, report_at: float) -> None:
        """Note that a call had no answer: it may have been granted all there are."""
        self.counted, self.report_at = self.most, report_at
