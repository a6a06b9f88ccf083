"""What a reporter answers: where the event is now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from otpreport.event import Event

Status = Literal["queued", "spooled", "dropped"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where one event is: `queued` in Redis, `spooled` on this machine's disk, or `dropped`.

    `reason` says why it is not queued. An event whose write was not answered in time may have arrived; that
    it is then spooled as well does no harm, the worker reports it once.
    """

    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Receipts:
    """Where many events are: how many of each status, how many for each reason, and which were dropped."""

    queued: int = 0
    spooled: int = 0
    dropped: int = 0
    reasons: dict[str, int] = field(default_factory=dict[str, int])
    dropped_events: tuple[Event, ...] = ()


class Tally:
    """Receipts in the making."""

    def __init__(self) -> None:
        self._counts: Counter[Status] = Counter()
        self._reasons: Counter[str] = Counter()
        self._dropped: list[Event] = []

    def add(self, events: Sequence[Event], receipt: Receipt) -> None:
        """Count events that share a receipt."""
        self._counts[receipt.status] += len(events)
        if receipt.reason:
            self._reasons[receipt.reason] += len(events)
        if receipt.status == "dropped":
            self._dropped.extend(events)

    def receipts(self) -> Receipts:
        """Return the sum."""
        counts = self._counts
        return Receipts(
            queued=counts["queued"],
            spooled=counts["spooled"],
            dropped=counts["dropped"],
            reasons=dict(self._reasons),
            dropped_events=tuple(self._dropped),
        )
