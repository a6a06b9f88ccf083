"""The rate of a group at one moment, computed as in rate.lua."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.shared import CLIMB


@dataclass(frozen=True, slots=True)
class Rate:
    """What Redis stores about a group's rate, in requests/s; times in seconds of Redis' clock; None: not set.

    The provider throttled it at `top` and it fell to `lowered`; `override` is an operator's limit.
    """

    lowered: float | None = None
    top: float = 0.0
    lowered_at: float = 0.0
    override: float | None = None
    throttled_ms: int | None = None
    """Since when the provider throttles it, in ms, unless an earlier version noted that."""
    override_ms: int | None = None
    override_by: str = ""
    override_why: str = ""

    def most(self, configured: float) -> float:
        """Return the rate that it climbs to, in requests/s."""
        return configured if self.override is None else min(configured, self.override)

    def effective(self, configured: float, now: float) -> float:
        """Return the rate at `now`, in requests/s."""
        most = self.most(configured)
        if self.lowered is None or self.lowered_at > now:  # Redis' clock was set back since
            return most
        climb = CLIMB * most
        flat = (max(0.0, self.top - self.lowered) / climb) ** (1 / 3)
        risen: float = (now - self.lowered_at - flat) ** 3
        return min(most, self.top + climb * risen)
