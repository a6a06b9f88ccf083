"""Decides when a worker leases a suspect alone."""

from __future__ import annotations

MIN_TURN = 1.0
"""Minimum seconds of a turn for suspects, once the worker has one."""

DRAIN_TIMEOUT = 30.0
"""Seconds after which a worker that still holds other events gives up its turn."""


class Quarantine:
    """Turns between suspects, each leased while the worker holds nothing else, and all other events.

    A turn lasts until the worker has emptied itself and had a suspect; the others then have as long a turn.
    """

    def __init__(self) -> None:
        self.in_force = False
        """Whether nothing but suspects may be leased now."""
        self._began = 0.0
        self._not_before = 0.0
        self._had_one = False

    def takes_suspects(self, now: float) -> bool:
        """Whether the turn is long enough for another suspect."""
        return self.in_force and not (self._had_one and now - self._began >= MIN_TURN)

    def observe(self, suspects: int, now: float, *, alone: bool) -> None:
        """Note how many suspects wait, and whether this worker holds one `alone`."""
        self._had_one = self.in_force and (self._had_one or alone)
        if not self.in_force and suspects and now >= self._not_before:
            self.in_force, self._began = True, now
        elif self.in_force and not alone and self._is_over(suspects, now):
            self.in_force = False
            self._not_before = now + max(MIN_TURN, now - self._began)

    def _is_over(self, suspects: int, now: float) -> bool:
        return not suspects or not self.takes_suspects(now) or now - self._began >= DRAIN_TIMEOUT
