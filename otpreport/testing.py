"""The Reporter's fake for the tests of a web app: it needs no Redis and records the reported events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otpreport.arguments import check, checked_accounts, checked_tracking
from otpreport.event import Event
from otpreport.receipt import Receipt, Receipts, Status, Tally
from otpreport.reporter import Reporter


class RecordingReporter(Reporter):
    """A Reporter that keeps `events` in memory and answers with `status` and `reason`, which may be set.

    `accounts` are those that it takes, and with `tracking` it takes a Dispatch, as a Reporter.
    """

    def __init__(
        self,
        status: Status = "queued",
        reason: str = "",
        *,
        accounts: Iterable[str] | None = None,
        tracking: bool = False,
    ) -> None:
        self._tracking = checked_tracking(tracking)
        self._accounts = checked_accounts(accounts)
        self.status: Status = status
        self.reason = reason
        self.events: list[Event] = []
        self._dropped = 0

    def __repr__(self) -> str:
        return f"RecordingReporter({self.status!r}, {len(self.events)} events)"

    @property
    def dropped(self) -> int:
        """How many events were answered with `dropped`."""
        return self._dropped

    def warm_up(self, timeout: float | None = None) -> bool:
        """Do nothing: there is nothing to connect to; say that it is there."""
        return True

    def report(self, event: Event) -> Receipt:
        """Remember an event; TypeError for anything but an event."""
        return self._record([event])

    async def areport(self, event: Event) -> Receipt:
        """Remember an event; TypeError for anything but an event."""
        return self._record([event])

    def report_many(self, events: Iterable[Event]) -> Receipts:
        """Remember events; TypeError, before any is remembered, for anything but an event."""
        everything = list(events)
        tally = Tally()
        tally.add(everything, self._record(everything))
        return tally.receipts()

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _record(self, events: Sequence[Event]) -> Receipt:
        for event in events:
            check(event, self._accounts, tracking=self._tracking)
        self.events.extend(events)
        if self.status == "dropped":
            self._dropped += len(events)
        return Receipt(self.status, self.reason)
