"""Sixteen accounts beside two: the same 1000 reports a second, spread evenly."""

from __future__ import annotations

from benchmarks.accounts import Account
from benchmarks.contenders import RATE
from benchmarks.effort import Effort, say
from benchmarks.feeder import Feeder
from benchmarks.finding import Finding
from benchmarks.reading import Reading, Spread, measure, ratios
from benchmarks.rounds import FIRST, disturbance, plain, started
from benchmarks.stage import Stage

FEW, MANY = 2, 16
ACCOUNTS = tuple(Account(f"account{number}") for number in range(MANY))


def run(effort: Effort) -> Finding:
    """Measure both, in turns."""
    readings: dict[int, list[Reading]] = {FEW: [], MANY: []}
    with Stage(*ACCOUNTS) as stage:
        for _ in range(effort.rounds):
            for count, those in readings.items():
                those.append(_one(stage, ACCOUNTS[:count], effort))
                say(f"  {count} accounts: {those[-1].line()}")
    base = [reading.worker_us for reading in readings[FEW]]
    rows = [
        (
            f"{count} accounts",
            Spread.of([reading.worker_us for reading in those]).text(),
            ratios([reading.worker_us for reading in those], base).text(2),
            Spread.of([reading.rate for reading in those]).text(),
            Spread.of([reading.redis_us for reading in those]).text(),
        )
        for count, those in readings.items()
    ]
    header = ("", "CPU of the worker, us", f"x {FEW} accounts", "reports/s", "CPU of Redis, us")
    by_name = {str(count): those for count, those in readings.items()}
    return Finding(f"{MANY} accounts beside {FEW}", header, rows, disturbance(by_name), plain(by_name))


def _one(stage: Stage, accounts: tuple[Account, ...], effort: Effort) -> Reading:
    stage.clear()
    stage.push(FIRST, accounts[0].name)
    rates = {account.name: RATE / len(accounts) for account in accounts}
    with stage.worker(*accounts) as process:
        started(stage, process)
        with Feeder(stage.valkey.port, rates):
            return measure(stage, process, warm_up=effort.warm_up, seconds=effort.seconds)
