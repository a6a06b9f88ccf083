"""Measure several, in turns: what else the machine does then falls on all of them alike."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

from benchmarks.contenders import RATE, Contender
from benchmarks.cores import own_core
from benchmarks.effort import Effort, say
from benchmarks.feeder import Feeder
from benchmarks.process import Process
from benchmarks.reading import Reading, Spread, measure
from benchmarks.stage import Stage
from benchmarks.usage import tree

FIRST = 100
"""Events that wait when a worker starts; once they are reported it has started."""

Readings = dict[str, list[Reading]]


def in_turns(
    stage: Stage, contenders: Sequence[Contender], effort: Effort, *, waiting: int = FIRST, rate: int = RATE
) -> Readings:
    """Measure each once a round, back and forth, offered `rate` events a second (0: those waiting alone).

    At a given rate each has a core for itself: Redis, the simulator and who offers events share the others.
    """
    readings: Readings = {contender.name: [] for contender in contenders}
    for number, contender in turns(contenders, effort.rounds):
        reading = _one(stage, contender, effort, waiting, rate)
        say(f"  round {number}: {contender.label}: {reading.line()}")
        readings[contender.name].append(reading)
    return readings


def turns(contenders: Sequence[Contender], rounds: int) -> Iterator[tuple[int, Contender]]:
    """Yield each contender once a round, with the round's number; every other round begins with the last."""
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            yield number + 1, contender


def plain(readings: Readings) -> dict[str, list[dict[str, float]]]:
    """Return the readings as JSON data."""
    return {name: [asdict(reading) for reading in those] for name, those in readings.items()}


def disturbance(readings: Readings) -> str:
    """Say how busy the machine was with something else."""
    others = Spread.of([reading.others for those in readings.values() for reading in those])
    return f"Others kept {others.text(1)} of the machine's {os.cpu_count()} cores busy meanwhile."


def started(stage: Stage, process: Process) -> None:
    """Wait until a worker's first events are reported."""
    stage.wait(lambda: stage.taken() >= FIRST, process)


def _one(stage: Stage, contender: Contender, effort: Effort, waiting: int, rate: int) -> Reading:
    stage.clear()
    if contender.feed is not None:
        with contender.start(stage) as process, contender.feed(stage):
            started(stage, process)
            with _apart(process):
                return measure(stage, process, warm_up=effort.warm_up, seconds=effort.seconds)
    if contender.queued:
        stage.push(waiting)
    feeding = contender.queued and rate
    with contender.start(stage) as process:
        started(stage, process)
        with (
            Feeder(stage.valkey.port, {"tencent": rate}) if feeding else nullcontext(),
            _apart(process) if rate else nullcontext(),
        ):
            return measure(stage, process, warm_up=effort.warm_up, seconds=effort.seconds)


def _apart(process: Process) -> AbstractContextManager[None]:
    own = set(tree(process.pid))
    return own_core(process.pid, [pid for pid in tree(os.getpid()) if pid not in own])
