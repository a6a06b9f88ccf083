"""Events of users that do not exist."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from otpreport import Verification
from otpreport.wire import encode


def events(account: str = "tencent") -> Iterator[Verification]:
    """Yield events, each with its own id."""
    while True:
        yield Verification(account=account, message_id=uuid.uuid4().hex, occurred_at=datetime.now(UTC))


def messages(account: str, count: int) -> list[bytes]:
    """Return messages of new events."""
    new = itertools.islice(events(account), count)
    return [encode(event, task_id=event.message_id) for event in new]
