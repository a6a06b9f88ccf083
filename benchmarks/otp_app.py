"""A web app that sends OTPs and verifies most of them, and OTPs that it sent before."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

from otpreport import Dispatch, Reporter, Verification
from otpreport.event import Event
from otpreport.wire import notice
from tasks.dedupe import Remembered
from tasks.keys import Keys
from tasks.tracking.tracker import Times, Tracker
from worker.connect import connect

OTPS, VERIFIED = 1000, 700
"""OTPs that are sent, and verified, each second."""

ENTERED = 5.0
"""Seconds from an OTP's sending to its verification."""

VALID = 3600
"""Seconds for which new ones are valid: none of them closes before a run is over."""

STEP = 0.01
PATIENCE = 30.0


class OtpApp:
    """Report VERIFIED verifications a second, and with `tracking` OTPS dispatches; remember when each was reported.

    `latest` is by how much it was ever behind its plan, in seconds: more than a few steps, and its figures are its own.
    """

    def __init__(self, url: str, account: str, *, tracking: bool) -> None:
        self._reporter = Reporter(url, spool=False, timeout=5.0, accounts=[account], tracking=tracking)
        self._account = account
        self._tracking = tracking
        self.reported: dict[str, float] = {}
        self.latest = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._reporter.warm_up(PATIENCE)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._reporter.close()

    @property
    def dropped(self) -> int:
        """How many events it could not report."""
        return self._reporter.dropped

    def _run(self) -> None:
        sent: list[str] = []
        began = before = time.monotonic()
        while not self._done.wait(STEP):
            now = time.monotonic()
            self.latest, before = max(self.latest, now - before - STEP), now
            passed = now - began
            new = [str(uuid.uuid4()) for _ in range(int(passed * OTPS) - len(sent))]
            sent += new
            due = int(max(0.0, passed - ENTERED) * VERIFIED)
            # of ten OTPs seven
            names = [sent[n // 7 * 10 + n % 7] for n in range(len(self.reported), due)]
            self._report(new, names)

    def _report(self, new: Sequence[str], names: Sequence[str]) -> None:
        now = datetime.now(UTC)
        events: list[Event] = []
        if self._tracking:
            events += [_sent(self._account, name, now, VALID) for name in new]
        events += [Verification(account=self._account, message_id=name, occurred_at=now) for name in names]
        self.reported |= dict.fromkeys(names, now.timestamp())
        self._reporter.report_many(events)


def _sent(account: str, message_id: str, at: datetime, expires_in: int) -> Dispatch:
    return Dispatch(account=account, message_id=message_id, sent_at=at, expires_in=expires_in, country="SG")


async def fill(url: str, account: str, ends: Iterator[float]) -> int:
    """Let one OTP be open for each of `ends`, the UNIX time at which it closes; return how many are."""
    client = connect(url)
    # a worker that comes within seconds waits no minute more
    tracker = Tracker(client, Keys(), {}, lambda: (), remembered=Remembered(), times=Times(watch=0))
    count, left = 0, True
    while left:
        now = datetime.now(UTC)
        at = now - timedelta(minutes=10)
        notices: list[bytes] = []
        for end in ends:
            name = str(uuid.uuid4())
            notices.append(notice(_sent(account, name, at, int(end - Times().grace - at.timestamp()))))
            if count % 10 < 10 * VERIFIED // OTPS:
                notices.append(notice(Verification(account=account, message_id=name, occurred_at=now)))
            count += 1
            if len(notices) >= 99:
                break
        left = bool(notices)
        if left:
            await client.lpush(Keys().notices(account), *notices)
            await tracker.track([account])
    await client.aclose()
    return count
