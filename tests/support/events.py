"""Events for tests, and what of them arrived in Redis."""

from datetime import UTC, datetime
from typing import cast

import redis

from otpreport import Verification
from tasks.message import decode

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def verification(number: int | str = 1, account: str = "tencent") -> Verification:
    """Return a good event whose message id is the number."""
    return Verification(account=account, message_id=str(number), occurred_at=NOON)


def arrived(client: redis.Redis, key: str = "otpreport.tencent") -> list[str]:
    """Return the message ids of a list, the first enqueued first."""
    raws = cast("list[bytes]", client.lrange(key, 0, -1))
    return [event_of(raw).message_id for raw in reversed(raws)]


def event_of(raw: bytes) -> Verification:
    """Return the event of a message."""
    return Verification.from_wire(cast("dict[str, object]", decode(raw).kwargs["event"]))
