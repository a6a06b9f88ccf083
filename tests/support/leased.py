"""Leased events and messages for tests, good ones and bad ones."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from otpreport import Verification
from providers import Result
from tasks.delivery import Delivery, Leased, LeasePurpose
from tasks.history import Attempt, History

NOW_MS = 1_767_225_600_000
"""2026-01-01, the time of tests without a clock."""


def event(
    number: int | str = 1,
    account: str = "tencent",
    *,
    verified: bool = True,
    at_ms: int = NOW_MS,
    app_id: str | None = None,
    sent_ms: int | None = None,
) -> Verification:
    """Return an event that occurred at `at_ms`, of a message sent at `sent_ms`."""
    sent = None if sent_ms is None else datetime.fromtimestamp(sent_ms / 1000, UTC)
    return Verification(
        account=account,
        message_id=str(number),
        occurred_at=datetime.fromtimestamp(at_ms / 1000, UTC),
        verified=verified,
        sent_at=sent,
        app_id=app_id,
    )


def message(
    kwargs: object = None,
    *,
    args: object = None,
    headers: Mapping[str, object] | None = None,
    envelope: Mapping[str, object] | None = None,
    body: bytes | None = None,
) -> bytes:
    """Return a Celery message as kombu writes it; what is given replaces or adds, None in `envelope` removes."""
    wire = {"event": event().to_wire()} if kwargs is None else kwargs
    text = json.dumps([args if args is not None else [], wire, {}]).encode() if body is None else body
    whole: dict[str, object] = {
        "body": base64.b64encode(text).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "otpreport.report", "id": "id-1", "eta": None, "expires": None}
        | dict(headers or {}),
        "properties": {"body_encoding": "base64", "delivery_tag": "t"},
    } | dict(envelope or {})
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def leased(
    raw: bytes | None = None,
    *,
    account: str = "tencent",
    tag: str = "tencent:w:1",
    deaths: int = 0,
    solitary: int = 0,
    history: History | None = None,
    purpose: LeasePurpose = LeasePurpose.SEND,
) -> Leased:
    """Return a leased record; without bytes, of a good message."""
    raw = message({"event": event(account=account).to_wire()}) if raw is None else raw
    return Leased(account, tag, deaths, solitary, NOW_MS - 1000, history or History(), raw, purpose)


def delivery(
    of: Verification | None = None,
    *,
    tag: str = "tencent:w:1",
    history: History | None = None,
    purpose: LeasePurpose = LeasePurpose.SEND,
    deaths: int = 0,
) -> Delivery:
    """Return a delivery on its way."""
    of = of or event()
    raw = message({"event": of.to_wire()})
    return Delivery(
        leased(raw, account=of.account, tag=tag, history=history, purpose=purpose, deaths=deaths), of
    )


def attempts(*results: Result) -> History:
    """Return a history of attempts that ended so."""
    return History(tuple(Attempt(NOW_MS, result, "Code", "text", "r", 5) for result in results))
