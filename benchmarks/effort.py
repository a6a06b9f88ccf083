"""How long to measure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Effort:
    """Rounds, and the seconds of each reading; the quick setting is a smoke test, not a measurement."""

    rounds: int = 3
    quick: bool = False

    @property
    def warm_up(self) -> float:
        """Seconds until a worker runs steadily."""
        return 2.0 if self.quick else 5.0

    @property
    def seconds(self) -> float:
        """Seconds of a reading."""
        return 4.0 if self.quick else 12.0

    def of(self, full: T, quick: T) -> T:
        """Return the one that fits."""
        return quick if self.quick else full


def say(text: str) -> None:
    """Print progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)
