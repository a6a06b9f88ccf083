"""A million events that wait: what they cost Redis, and that they cost the worker nothing."""

from __future__ import annotations

import time

from benchmarks.contenders import RATE
from benchmarks.effort import Effort, say
from benchmarks.feeder import Feeder
from benchmarks.finding import Finding
from benchmarks.process import Process
from benchmarks.rounds import FIRST, started
from benchmarks.stage import Stage
from benchmarks.usage import resident_megabytes
from otpreport.wire import queue_name

NO_FILE = {"appendonly": "no"}


def run(effort: Effort) -> Finding:
    """Follow one worker's memory: with nothing to do, at 1000 a second, and before a million events."""
    waiting = effort.of(1_000_000, 100_000)
    seconds = effort.of(60.0, 5.0)
    with Stage(options=NO_FILE) as stage:
        stage.push(FIRST)
        with stage.worker() as process:
            started(stage, process)
            empty = _greatest(process, 3.0)
            with Feeder(stage.valkey.port, {"tencent": RATE}):
                busy = _greatest(process, seconds)
            say(f"  worker: {empty:.0f} MB at rest, {busy:.0f} MB at work")
            before = stage.redis_megabytes()
            stage.push(waiting)
            left = stage.redis.llen(queue_name("tencent"))
            each = (stage.redis_megabytes() - before) * 1e6 / left
            full = _greatest(process, seconds)
    rows = [
        ("worker, nothing to do", f"{empty:.1f} MB"),
        (f"worker at {RATE} a second, nothing waiting", f"{busy:.1f} MB"),
        (f"worker at {RATE} a second, {waiting:,} waiting", f"{full:.1f} MB"),
        ("Redis, for a million waiting events", f"{each:.0f} MB"),
    ]
    data = {"empty": empty, "busy": busy, "full": full, "bytes_per_waiting_event": each, "waiting": waiting}
    note = f"Memory of the worker is the greatest resident size of {seconds:.0f} s."
    return Finding("A million events waiting", ("", "memory"), rows, note, data)


def _greatest(process: Process, seconds: float) -> float:
    """Return the greatest resident size within some seconds, in MB."""
    greatest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        process.check()
        greatest = max(greatest, resident_megabytes(process.pid))
        time.sleep(0.2)
    return greatest
