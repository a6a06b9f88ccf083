"""Send events to the try-out's accounts, now more, now fewer, until stopped."""
# ruff: noqa: INP001 - a program that a container runs, no part of a package

from __future__ import annotations

import itertools
import math
import os
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from otpreport import Reporter, Verification

ACCOUNTS = ("tencent", "alibaba")
MEAN, SWING = 60.0, 40.0
"""Events a second for each account: their mean, and how far they leave it."""
WAVE = 300.0
"""Seconds from one rush to the next."""
STEP = 0.1
"""Seconds between two batches."""


def events(account: str, count: int) -> list[Verification]:
    """Return this many events, whose codes were entered just now."""
    now = datetime.now(tz=UTC)
    sent = now - timedelta(seconds=20)
    return [
        Verification(account=account, message_id=f"demo:{uuid.uuid4()}", occurred_at=now, sent_at=sent)
        for _ in range(count)
    ]


def main() -> None:
    """Send until killed."""
    address = Path(os.environ["REDIS_URL_FILE"]).read_text(encoding="utf-8").strip()
    begun = time.monotonic()
    with Reporter(address, spool=False, timeout=1.0) as reporter:
        for step in itertools.count():
            rate = MEAN + SWING * math.sin(2 * math.pi * step * STEP / WAVE)
            for account in ACCOUNTS:
                reporter.report_many(events(account, round(rate * STEP)))
            time.sleep(max(0.0, begun + (step + 1) * STEP - time.monotonic()))


if __name__ == "__main__":
    main()
