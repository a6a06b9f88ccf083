"""How much one worker process can do when nothing holds it back."""

from __future__ import annotations

from benchmarks.contenders import FLOOR_UNLIMITED, OURS_UNLIMITED
from benchmarks.effort import Effort
from benchmarks.finding import Finding
from benchmarks.reading import Reading, Spread
from benchmarks.rounds import disturbance, in_turns, plain
from benchmarks.stage import Stage

FASTEST = 10_000
"""Reports per second that no worker reaches; this many are enqueued for each second."""


def run(effort: Effort) -> Finding:
    """Measure the greatest rate, the limit set far above it."""
    waiting = round((effort.warm_up + effort.seconds + 2) * FASTEST)
    contenders = (OURS_UNLIMITED, FLOOR_UNLIMITED)
    with Stage() as stage:
        readings = in_turns(stage, contenders, effort, waiting=waiting, rate=0)
    rows = [(contender.label, *_cells(readings[contender.name])) for contender in contenders]
    header = ("", "reports/s", "of a core", "reports/s and core", "CPU of the worker, us", "of Redis, us")
    note = f"The simulator and Redis share the machine with the worker. {disturbance(readings)}"
    return Finding("The ceiling of one worker process", header, rows, note, plain(readings))


def _cells(those: list[Reading]) -> tuple[str, ...]:
    return (
        Spread.of([reading.rate for reading in those]).text(),
        Spread.of([reading.cores for reading in those]).text(2),
        Spread.of([reading.rate / reading.cores for reading in those]).text(),
        Spread.of([reading.worker_us for reading in those]).text(),
        Spread.of([reading.redis_us for reading in those]).text(),
    )
