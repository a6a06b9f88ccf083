"""The record of a dead letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from otpreport.wire import encode
from providers.base import Result

if TYPE_CHECKING:
    from otpreport import Verification
    from tasks.dead_letters.letter import Letter
    from tasks.delivery import Leased
    from tasks.history import History
    from tasks.retry import Reason


def write(
    leased: Leased, history: History, reason: Reason, why: str, event: Verification | None, *, now_ms: int
) -> bytes:
    """Return a line of JSON with the whole story, then the message's bytes as they were sent."""
    last = history.attempts[-1] if history.attempts else None
    unsent = history.unsent
    story = {
        "id": leased.tag,
        "account": leased.account,
        "reason": reason,
        "why": why,
        "class": Result.NOT_SENT if unsent else last.result if last else None,
        "code": unsent.code if unsent else last.code if last else None,
        "message": unsent.message if unsent else last.message if last else None,
        "request_id": last.request_id if last and not unsent else None,
        "in_doubt": history.in_doubt,
        "deaths": leased.deaths,
        "first_at_ms": leased.first_ms,
        "last_at_ms": now_ms,
        "replayed_at_ms": history.replayed_ms,
        "event": event.to_wire() if event else None,
        "attempts": [
            {
                "at_ms": attempt.at_ms,
                "class": attempt.result,
                "code": attempt.code,
                "message": attempt.message,
                "request_id": attempt.request_id,
                "duration_ms": attempt.duration_ms,
            }
            for attempt in history.attempts
        ],
    }
    return orjson.dumps(story) + b"\n" + leased.raw


def rewrite(letter: Letter, event: Verification) -> bytes:
    """Return the record of a letter with this event as its message; the rest of its story stays."""
    story = {**letter.story, "event": event.to_wire()}
    return orjson.dumps(story) + b"\n" + encode(event, task_id=letter.id)
