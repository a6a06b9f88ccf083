"""How long it takes from a worker's start to its first report."""

from __future__ import annotations

from benchmarks.contenders import OURS, STOCK_THREADS, Contender
from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.reading import Spread, ratios
from benchmarks.stage import Stage


def run(effort: Effort) -> Finding:
    """Start each with events waiting, in turns."""
    times: dict[str, list[float]] = {contender.label: [] for contender in (OURS, STOCK_THREADS)}
    with Stage() as stage:
        for number in range(effort.rounds + 1):
            for contender in (OURS, STOCK_THREADS):
                seconds = _first_report(stage, contender)
                say(f"  {contender.label}: {seconds:.2f} s")
                if number:  # the very first start reads every file from the disk
                    times[contender.label].append(seconds)
    ours = times[OURS.label]
    rows = [(label, Spread.of(those).text(2), ratios(those, ours).text(2)) for label, those in times.items()]
    return Finding("From start to the first report", ("", "seconds", "x otpreport"), rows, data=times)


def _first_report(stage: Stage, contender: Contender) -> float:
    """Return the seconds until the simulator's ledger has the first arrival."""
    stage.clear()
    stage.push(10)
    with contender.start(stage) as process:
        stage.wait(lambda: stage.taken() > 0, process)
        arrived: float = stage.simulator.ledger()[0]["unix"]
        return arrived - process.started
