"""A measurement between two moments."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.process import Process
from benchmarks.stage import Stage
from benchmarks.usage import cpu_seconds, machine_seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """Reports a second, and the CPU time that each cost, in microseconds of worker, Redis and simulator.

    `others` is how many cores were busy with unrelated processes: if it is more than a little, only ratios
    mean much.
    """

    rate: float
    worker_us: float
    redis_us: float
    simulator_us: float
    others: float

    @property
    def cores(self) -> float:
        """How much of a core the worker used."""
        return self.rate * self.worker_us / 1e6

    def line(self) -> str:
        """Return it in a few words."""
        return f"{self.rate:.0f}/s, {self.worker_us:.0f} us each; others used {self.others:.1f} cores"


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the counters stood: reports taken so far, and CPU seconds used so far."""

    at: float
    taken: int
    worker: float
    redis: float
    simulator: float
    own: float
    machine: float

    @classmethod
    def now(cls, stage: Stage, process: Process, account: str | None = None) -> Moment:
        """Read the counters; reports of one account or of all."""
        return cls(
            taken=stage.taken(account),
            at=time.monotonic(),
            worker=cpu_seconds(process.pid),
            redis=cpu_seconds(stage.valkey.pid),
            simulator=cpu_seconds(stage.simulator.pid),
            own=cpu_seconds(os.getpid()),
            machine=machine_seconds(),
        )

    def until(self, later: Moment) -> Reading:
        """Return what happened until a later moment."""
        reports, seconds = later.taken - self.taken, later.at - self.at

        def each(used: float) -> float:
            return used / max(1, reports) * 1e6

        others = later.machine - self.machine - (later.own - self.own)
        return Reading(
            rate=reports / seconds,
            worker_us=each(later.worker - self.worker),
            redis_us=each(later.redis - self.redis),
            simulator_us=each(later.simulator - self.simulator),
            others=max(0.0, others) / seconds,
        )


def measure(
    stage: Stage, process: Process, *, warm_up: float, seconds: float, account: str | None = None
) -> Reading:
    """Let `warm_up` seconds pass, then read what `seconds` bring."""
    time.sleep(warm_up)
    before = Moment.now(stage, process, account)
    time.sleep(seconds)
    process.check()
    return before.until(Moment.now(stage, process, account))


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures, the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread; ValueError for no figures at all."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 0) -> str:
        """Return e.g. `480 (465-502)`."""
        median, low, high = (f"{value:.{digits}f}" for value in (self.median, self.low, self.high))
        return median if low == high else f"{median} ({low}-{high})"


def ratios(values: Sequence[float], base: Sequence[float]) -> Spread:
    """Return by how much the figures exceed the base's, round by round."""
    return Spread.of([value / own for value, own in zip(values, base, strict=True)])
