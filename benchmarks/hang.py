"""An account that goes badly beside one that goes well, and whether that one notices."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.accounts import Account
from benchmarks.contenders import RATE
from benchmarks.effort import Effort, say
from benchmarks.feeder import Feeder
from benchmarks.finding import Finding
from benchmarks.reading import Reading, Spread, measure, ratios
from benchmarks.rounds import FIRST, disturbance, plain, started
from benchmarks.stage import Stage

GOOD = Account("good")
HANGS = Account("hangs")
SLOW = Account("slow", rate=20)
BACKLOG = 20_000
"""Events of the bad account that wait from the start."""

FAULT: dict[str, object] = {"kind": "hang", "key": HANGS.key}
"""No answer at all: each request ends with the worker's READ_TIMEOUT, 10 s."""


@dataclass(frozen=True, slots=True)
class Case:
    """The good account's neighbour."""

    label: str
    neighbour: Account | None = None


CASES = (
    Case("alone"),
    Case("beside one whose provider hangs for 10 s", HANGS),
    Case("beside one that may send 20 a second", SLOW),
)


def run(effort: Effort) -> Finding:
    """Measure the good account's rate in each case, in turns."""
    readings: dict[str, list[Reading]] = {case.label: [] for case in CASES}
    with Stage(GOOD, HANGS, SLOW, faults=[FAULT]) as stage:
        for _ in range(effort.rounds):
            for case in CASES:
                reading = _one(stage, case, effort)
                say(f"  {case.label}: {reading.line()}")
                readings[case.label].append(reading)
    alone = [reading.rate for reading in readings[CASES[0].label]]
    rows = [
        (
            f"good account {label}",
            Spread.of([reading.rate for reading in those]).text(),
            ratios([reading.rate for reading in those], alone).text(2),
        )
        for label, those in readings.items()
    ]
    note = f"The good account is offered {RATE} a second; of its neighbour {BACKLOG} events wait. "
    note += disturbance(readings)
    return Finding("A bad neighbour", ("", "reports/s", "x alone"), rows, note, plain(readings))


def _one(stage: Stage, case: Case, effort: Effort) -> Reading:
    stage.clear()
    stage.push(FIRST, GOOD.name)
    with stage.worker() as process:
        started(stage, process)
        if case.neighbour:
            stage.push(BACKLOG, case.neighbour.name)
        with Feeder(stage.valkey.port, {GOOD.name: RATE}):
            # long enough to see requests time out
            return measure(
                stage, process, warm_up=effort.warm_up, seconds=max(11, effort.seconds), account=GOOD.name
            )
