"""Whether reports notice that OTPs are tracked: their rate and their age with and without, in turns."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.process import Process
from benchmarks.reading import Moment, Spread, ratios
from benchmarks.rounds import started
from benchmarks.stage import Stage
from otpreport import Dispatch, Reporter, Verification
from otpreport.event import Event
from otpreport.wire import notice
from tasks.dedupe import Remembered
from tasks.keys import Keys
from tasks.tracking.tracker import Tracker
from worker.connect import connect

ACCOUNT = "tencent"
OTPS, VERIFIED = 1000, 700
"""OTPs that are sent, and verified, each second."""

VALID = 600
"""Seconds for which a code is valid: with so many OTPs a second 600,000 are open."""

ENTERED = 5.0
"""Seconds from an OTP's sending to its verification."""

STEP = 0.01
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """Reports a second, their age in ms at the provider's door, and CPU of the worker and of Redis in us a report."""

    rate: float
    p50: float
    p99: float
    worker_us: float
    redis_us: float


class App:
    """A web app that sends and verifies OTPs at a steady rate; it remembers when it reported each."""

    def __init__(self, url: str, *, tracking: bool) -> None:
        self._reporter = Reporter(url, spool=False, timeout=1.0, accounts=[ACCOUNT], tracking=tracking)
        self._tracking = tracking
        self.reported: dict[str, float] = {}
        self.dropped = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._reporter.warm_up(PATIENCE)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.dropped = self._reporter.dropped
        self._reporter.close()

    def _run(self) -> None:
        sent: list[str] = []
        began, verified = time.monotonic(), 0
        while not self._done.wait(STEP):
            passed, now = time.monotonic() - began, datetime.now(UTC)
            new = [str(uuid.uuid4()) for _ in range(int(passed * OTPS) - len(sent))]
            sent += new
            due = int(max(0.0, passed - ENTERED) * VERIFIED)
            # of ten OTPs seven
            names = [sent[n // 7 * 10 + n % 7] for n in range(verified, due)]
            verified = due
            events: list[Event] = []
            if self._tracking:
                events += [
                    Dispatch(account=ACCOUNT, message_id=name, sent_at=now, expires_in=VALID, country="SG")
                    for name in new
                ]
            events += [Verification(account=ACCOUNT, message_id=name, occurred_at=now) for name in names]
            self.reported |= dict.fromkeys(names, time.time())
            self._reporter.report_many(events)


def run(effort: Effort) -> Finding:
    """Measure a worker with tracking and without, at least five times each and in turns; once if it shall be quick."""
    loads: dict[bool, list[Load]] = {False: [], True: []}
    pairs = effort.of(max(5, effort.rounds), effort.rounds)
    with Stage() as stage:
        for number in range(pairs):
            for tracking in (False, True) if number % 2 == 0 else (True, False):
                load = _one(stage, effort, tracking=tracking)
                say(f"  tracking {tracking}: {load}")
                loads[tracking].append(load)
    read: dict[str, tuple[Callable[[Load], float], int]] = {
        "reports/s": (lambda load: load.rate, 0),
        "age of a report at the provider, p50, ms": (lambda load: load.p50, 1),
        "... p99, ms": (lambda load: load.p99, 1),
        "worker, us of CPU a report": (lambda load: load.worker_us, 0),
        "Redis, us of CPU a report": (lambda load: load.redis_us, 0),
    }
    rows = [
        (
            label,
            *(Spread.of([of(load) for load in loads[tracking]]).text(digits) for tracking in (False, True)),
            ratios([of(load) for load in loads[True]], [of(load) for load in loads[False]]).text(2),
        )
        for label, (of, digits) in read.items()
    ]
    note = (
        f"{VERIFIED} reports/s; with tracking also {OTPS} OTPs a second, {_open(effort):,} open ones, and as many "
        f"closed as were sent {VALID} s ago. Pairs in turns: {pairs}; ratios are those of the pairs."
    )
    data = {str(tracking): [asdict(load) for load in those] for tracking, those in loads.items()}
    return Finding("Reports beside tracked OTPs", ("", "without", "with", "ratio"), rows, note, data)


def _one(stage: Stage, effort: Effort, *, tracking: bool) -> Load:
    stage.clear()
    if tracking:
        asyncio.run(_fill(stage, _open(effort)))
    stage.push(100)
    with stage.worker() as process:
        started(stage, process)
        with App(stage.valkey.url, tracking=tracking) as app:
            time.sleep(ENTERED + effort.warm_up)
            before, began = Moment.now(stage, process), time.time()
            time.sleep(effort.of(30.0, 5.0))
            process.check()
            reading, ended = before.until(Moment.now(stage, process)), time.time()
        _all_arrived(stage, process, app)
        ages = _ages(stage, app, began, ended)
    if app.dropped:
        raise RuntimeError(f"{app.dropped} events were dropped")
    p99 = statistics.quantiles(ages, n=100)[-1]
    return Load(reading.rate, statistics.median(ages), p99, reading.worker_us, reading.redis_us)


def _open(effort: Effort) -> int:
    return VALID * effort.of(OTPS, OTPS // 10)


async def _fill(stage: Stage, count: int) -> None:
    """Let OTPs be open that were sent at a steady rate until now, so that they close at that rate."""
    client = connect(stage.valkey.url)
    tracker = Tracker(client, Keys(), {}, lambda: (), remembered=Remembered())
    now, noted = datetime.now(UTC), 0
    for start in range(0, count, 100):
        # the newest closes last; none is closed before it is noted
        ages = (timedelta(seconds=VALID * (1 - (start + n) / count)) for n in range(100))
        notices = [
            notice(
                Dispatch(account=ACCOUNT, message_id=str(uuid.uuid4()), sent_at=now - age, expires_in=VALID)
            )
            for age in ages
        ]
        await client.lpush(Keys().notices(ACCOUNT), *notices)
        noted += (await tracker.track([ACCOUNT])).noted
    await client.aclose()
    if noted != count:
        raise RuntimeError(f"of {count} OTPs {noted} were noted")


def _all_arrived(stage: Stage, process: Process, app: App) -> None:
    stage.wait(lambda: stage.taken() >= len(app.reported) + 100, process, deadline=PATIENCE)


def _ages(stage: Stage, app: App, began: float, ended: float) -> list[float]:
    """Return how long each report took from the app to the provider's door, in ms, of those reported meanwhile."""
    rows = stage.simulator.ledger()
    reported = app.reported
    return [
        (float(row["unix"]) - reported[row["message_id"]]) * 1000
        for row in rows
        if began <= reported.get(row["message_id"], 0.0) <= ended
    ]
