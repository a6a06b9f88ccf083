"""What a worker costs that has nothing to do."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.contenders import OURS, STOCK_THREADS, Contender
from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.reading import Moment
from benchmarks.rounds import FIRST, started
from benchmarks.stage import Stage
from benchmarks.usage import resident_megabytes


@dataclass(frozen=True, slots=True)
class Rest:
    """Shares of a core, and the worker's memory."""

    worker: float
    redis: float
    megabytes: float


def run(effort: Effort) -> Finding:
    """Let each rest for 20 s after its first events."""
    contenders = (OURS, STOCK_THREADS)
    with Stage() as stage:
        rests = {contender.label: _rest(stage, contender, effort.of(20.0, 5.0)) for contender in contenders}
    rows = [
        (label, f"{rest.worker:.2%}", f"{rest.redis:.2%}", f"{rest.megabytes:.0f}")
        for label, rest in rests.items()
    ]
    header = ("", "CPU of the worker", "CPU of Redis", "worker's memory, MB")
    return Finding(
        "An idle worker",
        header,
        rows,
        "CPU in shares of one core.",
        data={
            label: {"worker": rest.worker, "redis": rest.redis, "megabytes": rest.megabytes}
            for label, rest in rests.items()
        },
    )


def _rest(stage: Stage, contender: Contender, seconds: float) -> Rest:
    stage.clear()
    stage.push(FIRST)
    with contender.start(stage) as process:
        started(stage, process)
        time.sleep(3)
        before = Moment.now(stage, process)
        time.sleep(seconds)
        after = Moment.now(stage, process)
        took = after.at - before.at
        say(f"  {contender.label}")
        return Rest(
            worker=(after.worker - before.worker) / took,
            redis=(after.redis - before.redis) / took,
            megabytes=resident_megabytes(process.pid),
        )
