"""A million events that wait: what they cost Redis, and that they cost the worker nothing."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

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


@dataclass(frozen=True, slots=True)
class Memory:
    """The greatest resident size of a worker within some seconds, and its reports per second."""

    megabytes: float
    rate: float


def run(effort: Effort) -> Finding:
    """Follow one worker's memory: with nothing to do, at 1000 a second, and before a million events."""
    waiting = effort.of(1_000_000, 100_000)
    seconds = effort.of(60.0, 5.0)
    with Stage(options=NO_FILE) as stage:
        stage.push(FIRST)
        with stage.worker() as process:
            started(stage, process)
            memory = {"nothing to do": _follow(stage, process, 3.0)}
            with Feeder(stage.valkey.port, {"tencent": RATE}):
                memory[f"offered {RATE} a second"] = _follow(stage, process, seconds)
            before = stage.redis_megabytes()
            stage.push(waiting)
            left = stage.redis.llen(queue_name("tencent"))
            each = (stage.redis_megabytes() - before) * 1e6 / left
            memory[f"{waiting:,} waiting"] = _follow(stage, process, seconds)
    rows = [(f"worker, {label}", f"{of.megabytes:.1f} MB", f"{of.rate:.0f}") for label, of in memory.items()]
    rows.append(("Redis, for a million waiting events", f"{each:.0f} MB", ""))
    data = {label: asdict(of) for label, of in memory.items()} | {"bytes_per_waiting_event": each}
    note = f"The worker's memory is the greatest resident size within {seconds:.0f} s."
    return Finding("A million events waiting", ("", "memory", "reports/s"), rows, note, data)


def _follow(stage: Stage, process: Process, seconds: float) -> Memory:
    start, taken = time.monotonic(), stage.taken()
    greatest = 0.0
    while time.monotonic() < start + seconds:
        process.check()
        greatest = max(greatest, resident_megabytes(process.pid))
        time.sleep(0.2)
    memory = Memory(greatest, (stage.taken() - taken) / (time.monotonic() - start))
    say(f"  {memory.megabytes:.0f} MB at {memory.rate:.0f}/s")
    return memory
