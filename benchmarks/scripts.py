"""What the scripts of a report cost Redis: `python -m benchmarks.scripts` prints a table (half a minute).

For each event Redis' time in the script (`INFO commandstats`), and its CPU for the whole call, with the parsing of the
arguments and what goes to the append-only file (`INFO cpu`). `--beside TREE` measures another checkout in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import redis

from benchmarks.events import messages
from otpreport.wire import queue_name
from tasks.dedupe import Remembered
from tasks.delivery import Delivery, Leased, read
from tasks.keys import Keys
from tasks.limiter.admission import Admission, RateGroup, Refusal
from tasks.limiter.clock import RedisClock
from tasks.queue.queue import Queue
from tasks.settlement import Ending, Finish
from tests.support.entering import entered
from worker.connect import connect
from worker.embedded import EmbeddedValkey

SIZES = (1, 20, 100)
"""Events in one call; 20 are those of a round at 1000/s."""

HELD = 200
"""Events that the worker holds at most."""

ACCOUNT = "tencent"
OPTIONS = {"appendfsync": "everysec", "auto-aof-rewrite-percentage": "0"}
ROOT = Path(__file__).parent.parent
Call = Callable[[], Coroutine[Any, Any, object]]
Costs = dict[str, dict[str, tuple[float, float]]]
"""By script and size: us of the script, and of Redis' CPU, an event."""


@dataclass(slots=True)
class Meter:
    """What a server says that it spent on each script, in us."""

    client: Any
    spent: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    async def measure(self, name: str, calls: Sequence[Call]) -> None:
        """Make these calls, one after another, and add what they cost."""
        self.client.config_resetstat()
        cpu = self._cpu()
        for call in calls:
            await call()
        cpu = self._cpu() - cpu
        stats = self.client.info("commandstats")
        script = sum(stats.get(f"cmdstat_{word}", {"usec": 0})["usec"] for word in ("eval", "evalsha"))
        before = self.spent.get(name, (0.0, 0.0))
        self.spent[name] = before[0] + script, before[1] + cpu

    def _cpu(self) -> float:
        info = self.client.info("cpu")
        return float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]) * 1e6


async def costs(port: int, times: int) -> Costs:
    """Measure each script at each size, `times` times HELD events."""
    found: Costs = {}
    client = connect(f"redis://127.0.0.1:{port}/0")
    queue = Queue(client, Keys(), "benchmark", lease=3600, remembered=Remembered())
    groups = {ACCOUNT: RateGroup("benchmark", 100_000)}
    admission = Admission(
        client, Keys(), "benchmark", groups, remembered=Remembered(), clock=RedisClock(), on_error=print
    )
    door = asyncio.create_task(admission.run())
    for size in (HELD, *SIZES):  # the first warms up
        meter = Meter(redis.Redis(port=port))
        for _ in range(times):
            await _go_round(meter, queue, admission, size)
        found |= {
            str(size): {
                name: (script / times / HELD, cpu / times / HELD)
                for name, (script, cpu) in meter.spent.items()
            }
        }
    door.cancel()
    await client.aclose()
    return {size: found[size] for size in map(str, SIZES)}


async def _go_round(meter: Meter, queue: Queue, admission: Admission, size: int) -> None:
    """Bring HELD events from their list to a good end, `size` in each call."""
    meter.client.lpush(queue_name(ACCOUNT), *messages(ACCOUNT, HELD))
    leased: list[Leased] = []

    async def lease() -> None:
        leased.extend((await queue.lease({ACCOUNT: size})).leased)

    await meter.measure("lease", [lease] * (HELD // size))
    now_ms = leased[0].first_ms
    deliveries = [one for one in (read(each, now_ms=now_ms) for each in leased) if isinstance(one, Delivery)]
    batches = [deliveries[i : i + size] for i in range(0, HELD, size)]

    async def admit(batch: list[Delivery]) -> None:
        answers = await asyncio.gather(*(entered(admission, delivery) for delivery in batch))
        if any(isinstance(one, Refusal) for one in answers):
            raise RuntimeError("an event was refused")

    async def settle(batch: list[Delivery]) -> None:
        good = [(delivery, Finish(Ending.DELIVERED)) for delivery in batch]
        if not all(await queue.settle(good, queue.next_call())):
            raise RuntimeError("an event was not settled")

    await meter.measure("admit", [partial(admit, batch) for batch in batches])
    await meter.measure("settle", [partial(settle, batch) for batch in batches])


def one(times: int, binary: str | None) -> None:
    """Measure this checkout and print its costs as JSON."""
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        EmbeddedValkey(Path(folder), binary=binary, options=OPTIONS) as server,
    ):
        print(json.dumps(asyncio.run(costs(server.port, times))))


def beside(trees: Sequence[Path], rounds: int, arguments: Sequence[str]) -> dict[Path, list[Costs]]:
    """Measure each checkout, in turns, with its own scripts."""
    found: dict[Path, list[Costs]] = {tree: [] for tree in trees}
    for number in range(rounds):
        for tree in trees if number % 2 == 0 else trees[::-1]:
            command = [sys.executable, "-m", "benchmarks.scripts", "--one", *arguments]
            ended = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, check=True)
            found[tree].append(json.loads(ended.stdout))
    return found


def table(found: dict[Path, list[Costs]]) -> str:
    """Return the medians, a line for each size and script."""
    names = [tree.resolve().name for tree in found]
    lines = ["| events in a call | script |" + "".join(f" {name}: script, us | CPU, us |" for name in names)]
    lines.append("|--:|---|" + "--:|--:|" * len(names))
    for size in map(str, SIZES):
        sums = [[0.0, 0.0] for _ in names]
        for script in ("lease", "admit", "settle"):
            medians = [
                [median(costs[size][script][i] for costs in those) for i in (0, 1)]
                for those in found.values()
            ]
            sums = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(sums, medians, strict=True)]
            lines.append(_line(size, script, medians))
        lines.append(_line(size, "together", sums))
    return "\n".join(lines)


def _line(size: str, script: str, figures: Sequence[Sequence[float]]) -> str:
    return f"| {size} | {script} |" + "".join(f" {a:.1f} | {b:.1f} |" for a, b in figures)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often, in turns (3)")
    parser.add_argument("--times", type=int, default=10, help=f"times {HELD} events in each (10)")
    parser.add_argument("--binary", help="of the server, redis-server for example (Valkey)")
    parser.add_argument("--beside", type=Path, action="append", default=[], metavar="TREE")
    parser.add_argument("--one", action="store_true", help="print the costs of one round as JSON")
    options = parser.parse_args()
    if options.one:
        one(options.times, options.binary)
        return
    arguments = ["--times", str(options.times), *(["--binary", options.binary] if options.binary else [])]
    print(table(beside([*options.beside, ROOT], options.rounds, arguments)))


if __name__ == "__main__":
    main()
