"""How many requests of one key are open at a time, which some providers limit instead of a rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Open:
    """The open requests of one key: those that arrived and are neither answered nor gone."""

    limit: int | None = None
    now: int = 0
    most: int = 0
    seconds: float = 0.0  # how long requests were open, added up
    _since: float = 0.0  # monotonic

    @property
    def full(self) -> bool:
        """Whether one more is too many."""
        return self.limit is not None and self.now >= self.limit

    def arrive(self, at: float) -> None:
        """Count one more from the monotonic time `at` on."""
        self._advance(at)
        self.now += 1
        self.most = max(self.most, self.now)

    def leave(self, at: float) -> None:
        """Count one less."""
        self._advance(at)
        self.now -= 1

    def reset(self) -> None:
        """Begin anew with those that are open now."""
        self.most, self.seconds = self.now, 0.0

    def until(self, at: float) -> float:
        """Return for how many seconds requests were open until `at`, added up."""
        return self.seconds + self.now * (at - self._since)

    def _advance(self, at: float) -> None:
        self.seconds, self._since = self.until(at), at
