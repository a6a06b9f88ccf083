"""Whether reports notice that OTPs are tracked: windows with and without, in turns, on two fleets beside each other.

The fleet with the OTPs has them open all the time, and they close in its windows only; the other one, the control, has
a Redis and a worker of its own, and never heard of OTPs. Whichever is not measured is idle.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.accounts import Account
from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.otp_app import ENTERED, OTPS, PATIENCE, VERIFIED, OtpApp, fill
from benchmarks.process import Process
from benchmarks.reading import Spread, ratios
from benchmarks.stage import Stage
from benchmarks.usage import cpu_seconds, machine_seconds
from tasks.fleet.snapshot import SnapshotReader
from tasks.keys import Keys
from tests.support.admin import admin
from worker.embedded import EmbeddedValkey

TRACKED, CONTROL = Account("tracked"), Account("control")
PAUSE = 8.0
"""Seconds between two windows, in which the last reports arrive and the ledger is read."""

FILLED = 7000
"""OTPs a second that can be noted before the windows begin, at least, on a machine that is not too busy."""

LEAD = 50.0
"""Seconds before the first window at least; the first OTP closes one window later, and its grace is 60 s."""

LATE = 0.5
"""Seconds by which the app may be late before a window says nothing of the product."""


@dataclass(frozen=True, slots=True)
class Load:
    """Reports a second, written and taken; their age in ms at the provider's door; CPU of worker and Redis in us each.

    `stall` is the longest for which Redis did nothing else, with its cause, and `late` the most by which the app was
    behind its plan, both in ms; `others` is how many cores were busy with anything else.
    """

    written: float
    rate: float
    p50: float
    p99: float
    worker_us: float
    redis_us: float
    stall: float
    cause: str
    late: float
    others: float


@dataclass(frozen=True, slots=True)
class Plan:
    """When the windows are: so many pairs, each of a window without and one with, every other pair in turn."""

    pairs: int
    warm_up: float
    reading: float
    begin: float

    @property
    def window(self) -> float:
        """Seconds for which an app works."""
        return self.warm_up + self.reading

    def windows(self) -> Iterator[tuple[float, bool]]:
        """Yield the UNIX time at which each window begins, and whether it is one with OTPs."""
        turns = [tracking for pair in range(self.pairs) for tracking in (pair % 2 == 1, pair % 2 == 0)]
        for number, tracking in enumerate(turns):
            yield self.begin + number * (self.window + PAUSE), tracking

    def ends(self, count: int) -> Iterator[float]:
        """Yield when each of so many OTPs closes: in the windows with OTPs, or after all of them."""
        each = round(self.window * OTPS)
        begins = [begin for begin, tracking in self.windows() if tracking]
        after = begins[-1] + self.window + 3600
        for number in range(count):
            turn, place = divmod(number, each)
            yield begins[turn] + place / OTPS if turn < len(begins) else after


@dataclass(frozen=True, slots=True)
class Side:
    """A fleet of one worker."""

    account: Account
    server: EmbeddedValkey
    redis: Any
    worker: Process


def run(effort: Effort) -> Finding:
    """Measure five pairs, ten minutes of OTPs with 600,000 open ones in all; one short pair if it shall be quick."""
    loads: dict[bool, list[Load]] = {False: [], True: []}
    count = effort.of(600_000, 20_000)
    pairs, reading = effort.of(max(5, effort.rounds), effort.rounds), effort.of(110.0, 8.0)
    with (
        Stage(TRACKED, CONTROL) as stage,
        EmbeddedValkey(stage.folder / "control", options=stage.options) as other,
        admin(other.port) as redis,
    ):
        began = time.time()
        plan = Plan(pairs, ENTERED + effort.warm_up, reading, began + max(LEAD, count / FILLED))
        asyncio.run(fill(stage.valkey.url, TRACKED.name, plan.ends(count)))
        fill_seconds = time.time() - began
        if time.time() > plan.begin - 5:
            raise RuntimeError(f"the machine is too busy: {count:,} OTPs were noted in {fill_seconds:.0f} s")
        say(f"  {count:,} OTPs are open after {fill_seconds:.0f} s")
        with (
            stage.worker(TRACKED) as worker,
            stage.worker(CONTROL, redis_url=other.url) as control,
        ):
            sides = {
                True: Side(TRACKED, stage.valkey, stage.redis, worker),
                False: Side(CONTROL, other, redis, control),
            }
            for begin, tracking in plan.windows():
                time.sleep(max(0.0, begin - time.time()))
                load = _one(stage, sides[tracking], plan, tracking=tracking)
                say(f"  tracking {tracking}: {load}")
                loads[tracking].append(load)
        closed = _closed(sides[True], count, plan)
    note = (
        f"{VERIFIED} reports/s; with tracking also {OTPS} OTPs a second that are sent, as many that close "
        f"({closed:,} in all), and {count:,} open ones. {pairs} pairs of windows of {reading:.0f} s, in turns; ratios "
        "are those of the pairs. Without: a Redis and a worker of their own, and no OTPs."
    )
    data = {str(tracking): [asdict(load) for load in those] for tracking, those in loads.items()}
    header = ("", "without", "with", "ratio")
    return Finding("Reports beside tracked OTPs", header, _rows(loads), note, data)


def _rows(loads: dict[bool, list[Load]]) -> list[tuple[str, ...]]:
    def row(label: str, of: Callable[[Load], float], digits: int) -> tuple[str, ...]:
        without, with_ = ([of(load) for load in loads[tracking]] for tracking in (False, True))
        ratio = ratios(with_, without).text(3) if all(without) else "-"
        return (label, Spread.of(without).text(digits), Spread.of(with_).text(digits), ratio)

    return [
        row("reports that the app wrote, a second", lambda load: load.written, 0),
        row("reports that the provider took, a second", lambda load: load.rate, 0),
        row("age of a report at the provider, p50, ms", lambda load: load.p50, 1),
        row("... p99, ms", lambda load: load.p99, 1),
        row("worker, us of CPU a report", lambda load: load.worker_us, 0),
        row("Redis, us of CPU a report", lambda load: load.redis_us, 0),
        row("longest stall of Redis, ms", lambda load: load.stall, 0),
        row("longest delay of the app's plan, ms", lambda load: load.late, 0),
        row("cores that other programs used", lambda load: load.others, 2),
    ]


def _one(stage: Stage, side: Side, plan: Plan, *, tracking: bool) -> Load:
    stage.simulator.reset()
    side.redis.config_set("latency-monitor-threshold", 1)
    with OtpApp(side.server.url, side.account.name, tracking=tracking) as app:
        time.sleep(plan.warm_up)
        side.redis.execute_command("LATENCY", "RESET")
        began, spent = time.time(), _spent(stage, side)
        time.sleep(plan.reading)
        side.worker.check()
        ended, used = time.time(), [now - then for now, then in zip(_spent(stage, side), spent, strict=True)]
        stall, cause = max(
            ((entry[3], entry[0].decode()) for entry in side.redis.latency_latest()), default=(0, "")
        )
    stage.wait(lambda: stage.taken() >= len(app.reported), side.worker, deadline=PATIENCE)
    if app.dropped:
        raise RuntimeError(f"{app.dropped} events were dropped")
    if app.latest > LATE:
        say(f"  the app was {app.latest:.1f} s late: the machine is too busy for this window to say anything")
    arrived = {row["message_id"]: float(row["unix"]) for row in stage.simulator.ledger()}
    seconds = ended - began
    taken = sum(began <= at <= ended for at in arrived.values())
    ages = [(arrived[name] - at) * 1000 for name, at in app.reported.items() if began <= at <= ended]
    worker, server, others = used
    return Load(
        written=len(ages) / seconds,
        rate=taken / seconds,
        p50=statistics.median(ages),
        p99=statistics.quantiles(ages, n=100)[-1],
        worker_us=worker / taken * 1e6,
        redis_us=server / taken * 1e6,
        stall=float(stall),
        cause=cause,
        late=app.latest * 1000,
        others=max(0.0, others) / seconds,
    )


def _spent(stage: Stage, side: Side) -> tuple[float, float, float]:
    """Return the CPU seconds of the worker, of its Redis, and of what is no part of the benchmark."""
    worker, server = cpu_seconds(side.worker.pid), cpu_seconds(side.server.pid)
    ours = cpu_seconds(stage.simulator.pid) + cpu_seconds(os.getpid())
    return worker, server, machine_seconds() - worker - server - ours


def _closed(side: Side, count: int, plan: Plan) -> int:
    """Return how many OTPs were closed; RuntimeError unless these are the ones that ended in the windows."""
    [account] = SnapshotReader(side.redis, Keys(), {side.account.name: "group"}).read().accounts
    otps = account.otps
    if otps is None or otps.sent_gap or otps.unverified_gap:
        raise RuntimeError(f"the counts do not add up: {otps}")
    closed, due = otps.total.yes + otps.total.no, min(count, round(plan.pairs * plan.window * OTPS))
    if abs(closed - due) > 0.02 * due:
        raise RuntimeError(f"{closed:,} OTPs were closed, and not {due:,}")
    return closed
