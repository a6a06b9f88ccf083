"""How many requests are open at a time, which some providers limit for a key instead of a rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class InFlight:
    """The requests that arrived and are neither answered nor gone; times are monotonic."""

    limit: int | None = None
    now: int = 0
    most: int = 0
    _seconds: float = 0.0
    _since: float = 0.0

    @property
    def full(self) -> bool:
        """Whether one more is too many."""
        return self.limit is not None and self.now >= self.limit

    def arrive(self, at: float) -> None:
        """Count one more."""
        self._advance(at)
        self.now += 1
        self.most = max(self.most, self.now)

    def leave(self, at: float) -> None:
        """Count one less."""
        self._advance(at)
        self.now -= 1

    def reset(self, at: float) -> None:
        """Begin anew with those that are open now."""
        self.most, self._seconds, self._since = self.now, 0.0, at

    def until(self, at: float) -> float:
        """Return for how many seconds requests were open until `at`, added up."""
        return self._seconds + self.now * (at - self._since)

    def _advance(self, at: float) -> None:
        self._seconds, self._since = self.until(at), at
