"""When a worker leases a suspect alone."""

from __future__ import annotations

TURN = 1.0
"""Seconds a worker gives to suspects, and as many to all other events before the next turn."""


class Quarantine:
    """Turns between suspects, each leased while the worker holds nothing else, and all other events."""

    def __init__(self) -> None:
        self._suspects = 0
        self._from = 0.0
        self._until = 0.0

    def observe(self, suspects: int, now: float) -> None:
        """Note how many suspects wait; the first one seen opens a turn."""
        if suspects and now >= self._until + TURN:
            self._from, self._until = now, now + TURN
        self._suspects = suspects

    def in_force(self, now: float) -> bool:
        """Whether nothing but suspects may be leased now."""
        return self._suspects > 0 and self._from <= now < self._until
