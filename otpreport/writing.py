"""What is written for events: reports for the workers and, with tracking, notices for the tracker of OTPs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from otpreport.event import Dispatch, Event, Verification
from otpreport.push import Push
from otpreport.wire import NOTICES, encode, notice, queue_name


@dataclass(slots=True)
class Write:
    """A push, and the events whose receipt it decides; of `notices` the receipt is that of their report."""

    push: Push
    events: Sequence[Event]
    notices: int = 0


class Writing:
    """Encodes events; what is wrong with one that nothing validated raises an error of any kind."""

    def __init__(self, key_prefix: str, *, tracking: bool) -> None:
        self._key_prefix = key_prefix
        self._tracking = tracking

    def single(self, event: Event) -> tuple[Push, ...]:
        """Return the pushes for one event; the first decides its receipt."""
        key = self._key_prefix + queue_name(event.account)
        if isinstance(event, Dispatch):
            return (Push(key + NOTICES, (notice(event),)),)
        if not (self._tracking and event.verified):
            return (Push(key, (encode(event, task_id=os.urandom(16).hex()),)),)
        report = Push(key, (encode(event, task_id=os.urandom(16).hex(), noted=True),))
        return report, Push(key + NOTICES, (notice(event),))

    def many(self, events: Sequence[Event]) -> list[Write]:
        """Return the writes for events of any accounts: of each account its reports, then its notices."""
        groups: dict[str, list[Event]] = {}
        for event in events:
            groups.setdefault(event.account, []).append(event)
        return [write for account, group in groups.items() for write in self._of_account(account, group)]

    def _of_account(self, account: str, events: Sequence[Event]) -> Iterator[Write]:
        key = self._key_prefix + queue_name(account)
        reports = [event for event in events if isinstance(event, Verification)]
        if reports:
            ids = os.urandom(16 * len(reports)).hex()
            messages = [
                encode(event, task_id=ids[32 * i : 32 * i + 32], noted=self._tracking and event.verified)
                for i, event in enumerate(reports)
            ]
            yield Write(Push(key, messages), reports)
        if not self._tracking:
            return
        dispatches = [event for event in events if isinstance(event, Dispatch)]
        notices = [notice(event) for event in events if isinstance(event, Dispatch) or event.verified]
        if notices:
            yield Write(Push(key + NOTICES, notices), dispatches, len(notices) - len(dispatches))
