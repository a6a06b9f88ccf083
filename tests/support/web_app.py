"""A web app, WSGI and ASGI, that reports once per request and answers with the receipt, the time it took and the id."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from otpreport import Receipt, Reporter, Verification

reporter = Reporter(os.environ["URL"], spool=os.environ["SPOOL"], timeout=float(os.environ["BUDGET"]))


def _event() -> Verification:
    return Verification(account="tencent", message_id=uuid.uuid4().hex, occurred_at=datetime.now(UTC))


def _answer(event: Verification, receipt: Receipt, start: float) -> bytes:
    return f"{receipt.status} {time.monotonic() - start:.6f} {event.message_id}".encode()


def app(_: object, start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Report, as WSGI."""
    event, start = _event(), time.monotonic()
    body = _answer(event, reporter.report(event), start)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict[str, Any], _: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Report, as ASGI."""
    if scope["type"] != "http":
        raise ValueError("http alone")  # by which a server learns that there is no lifespan
    event, start = _event(), time.monotonic()
    body = _answer(event, await reporter.areport(event), start)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
