"""What an event costs the web app that reports it."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from kombu import pools

from benchmarks.effort import Effort, say
from benchmarks.events import events
from benchmarks.finding import Finding
from benchmarks.reading import Spread, ratios
from benchmarks.stage import Stage
from otpreport import Dispatch, Reporter, Verification
from otpreport.event import Event
from otpreport.wire import NOTICES, TASK, queue_name

OURS, MANY, STOCK = "Reporter.report()", "Reporter.report_many(), each event", "stock Celery's apply_async()"
TRACKED, SENT = "Reporter.report() with tracking", "Reporter.report() of a Dispatch"

_TURNS = 25
"""Parts of a round, in which each call has a turn: a machine's speed changes within seconds."""

Call = Callable[[Sequence[Any]], object]


def run(effort: Effort) -> Finding:
    """Measure the CPU time of this whole process, its background threads included, in turns."""
    few = effort.of(5000, 1000)
    counts = {
        OURS: few,
        TRACKED: few,
        SENT: few,
        MANY: effort.of(50_000, 5000),
        STOCK: effort.of(3000, 500),
    }
    cpu: dict[str, list[float]] = {label: [] for label in counts}
    wall: dict[str, list[float]] = {label: [] for label in counts}
    with Stage() as stage, _reporter(stage) as reporter, _reporter(stage, tracking=True) as tracking:
        calls: dict[str, Call] = {
            OURS: lambda batch: [reporter.report(event) for event in batch],
            TRACKED: lambda batch: [tracking.report(event) for event in batch],
            SENT: lambda batch: [tracking.report(event) for event in batch],
            MANY: reporter.report_many,
            STOCK: _stock(stage.valkey.url),
        }
        for _ in range(effort.rounds):
            turns: dict[str, list[tuple[float, float]]] = {label: [] for label in counts}
            for _, (label, count) in itertools.product(range(_TURNS), counts.items()):
                sent = label == SENT
                turns[label].append(_microseconds(stage, calls[label], count // _TURNS, sent=sent))
            for label, readings in turns.items():
                used, took = (statistics.fmean(column) for column in zip(*readings, strict=True))
                say(f"  {label}: {used:.1f} us CPU, {took:.1f} us")
                cpu[label].append(used)
                wall[label].append(took)
    pools.reset()
    rows = [
        (
            label,
            Spread.of(cpu[label]).text(),
            ratios(cpu[label], cpu[OURS]).text(2),
            Spread.of(wall[label]).text(),
        )
        for label in counts
    ]
    header = ("", "CPU, us", "x report()", "wall time, us")
    return Finding("What the web app pays for an event", header, rows, data={"cpu": cpu, "wall": wall})


def _reporter(stage: Stage, *, tracking: bool = False) -> Reporter:
    """Return a connected reporter; its timeout is long, so that a busy machine makes it spool nothing."""
    reporter = Reporter(stage.valkey.url, spool=stage.folder / "spool", timeout=1.0, tracking=tracking)
    warm = events()
    stage.wait(lambda: reporter.report(next(warm)).status == "queued")
    return reporter


def _stock(url: str) -> Call:
    """Return what a web app with a stock Celery app does for each event."""
    app = Celery("producer", broker=url, set_as_current=False)
    app.conf.task_ignore_result = True

    @app.task(name=TASK)
    def report(event: dict[str, object]) -> None:
        """Stand for the worker's task."""

    def send(batch: Sequence[Verification]) -> None:
        for event in batch:
            report.apply_async(kwargs={"event": event.to_wire()}, queue=queue_name(event.account))

    send([next(events())])
    return send


def _dispatches() -> Iterator[Dispatch]:
    for event in events():
        yield Dispatch(
            account=event.account, message_id=event.message_id, sent_at=datetime.now(UTC), country="SG"
        )


def _microseconds(stage: Stage, call: Call, count: int, *, sent: bool) -> tuple[float, float]:
    """Return CPU and wall time for each event; RuntimeError when they are not all in Redis."""
    stage.redis.flushall()
    batch: list[Event] = list(itertools.islice(_dispatches() if sent else events(), count))
    cpu, wall = time.process_time(), time.perf_counter()
    call(batch)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if (waiting := stage.redis.llen(queue_name("tencent") + NOTICES * sent)) != count:
        raise RuntimeError(f"of {count} events {waiting} are in Redis")
    return cpu / count * 1e6, wall / count * 1e6
