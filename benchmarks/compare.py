"""One otpreport worker process beside what people would otherwise use, each offered 1000 reports a second."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contenders import ALL, OURS, RATE
from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.plot import Bar, bars
from benchmarks.reading import Reading, Spread, ratios
from benchmarks.rounds import Readings, disturbance, in_turns, plain
from benchmarks.stage import Stage

TITLE = f"CPU of one report, offered {RATE} a second"
NOTE = (
    "Median (least-greatest); the ratio is taken round by round. otpreport keeps every sliding second "
    "within the limit of 1000, so it sends 961 a second at most."
)


def run(effort: Effort, plot: Path | None = None) -> Finding:
    """Measure all that are installed."""
    present = [contender for contender in ALL if contender.available]
    missing = [contender for contender in ALL if not contender.available]
    for contender in missing:
        say(f"  without {contender.label}: {contender.needs} is not installed")
    with Stage() as stage:
        readings = in_turns(stage, present, effort)
    labels = {contender.name: contender.label for contender in present}
    if plot is not None:
        plot.write_text(_plot(readings, labels))
    header = ("", "CPU of the worker, us", "x otpreport", "reports/s", "of a core", "CPU of Redis, us")
    rows = [(labels[name], *_cells(those, readings[OURS.name])) for name, those in readings.items()]
    absent = [f"{contender.label} was not measured: {contender.needs} is missing." for contender in missing]
    return Finding(TITLE, header, rows, " ".join([NOTE, disturbance(readings), *absent]), plain(readings))


def _cells(those: list[Reading], ours: list[Reading]) -> tuple[str, ...]:
    cpu = [reading.worker_us for reading in those]
    return (
        Spread.of(cpu).text(),
        ratios(cpu, [reading.worker_us for reading in ours]).text(2),
        Spread.of([reading.rate for reading in those]).text(),
        Spread.of([reading.cores for reading in those]).text(2),
        Spread.of([reading.redis_us for reading in those]).text(),
    )


def _plot(readings: Readings, labels: dict[str, str]) -> str:
    spreads = {name: Spread.of([reading.worker_us for reading in those]) for name, those in readings.items()}
    rates = {name: Spread.of([reading.rate for reading in those]) for name, those in readings.items()}
    lines = [
        Bar(
            labels[name],
            spread,
            f"{spread.median:.0f} \N{MICRO SIGN}s \N{MIDDLE DOT} {rates[name].median:.0f}/s",
        )
        for name, spread in spreads.items()
    ]
    return bars(f"{TITLE}, in \N{MICRO SIGN}s, and the rate reached", lines, strong=labels[OURS.name])
