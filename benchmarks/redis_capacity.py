"""The capacity of one Redis: `python -m benchmarks.redis_capacity` prints a table (two minutes on two cores).

Redis' own CPU (`INFO cpu`) for each report and for an idle worker; its memory for waiting and for remembered events.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import redis

from benchmarks.accounts import UNLIMITED, Account
from benchmarks.ceiling import FASTEST
from benchmarks.events import events
from benchmarks.stage import Stage
from otpreport import Reporter
from tasks.dedupe import Fingerprint
from tasks.shared import BUCKET_BITS

SETTLE = 3.0
"""Seconds until workers have started to work at their pace."""

DENSITIES = (1, 10, 100, 330)
"""Remembered events in one set; 330 are those of half a day at 1000/s."""


def redis_cpu(client: redis.Redis) -> float:
    """Return the seconds of CPU that the server has used, all its threads together."""
    untyped: Any = client
    info = untyped.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def memory(client: redis.Redis) -> int:
    """Return the bytes of the server's data set."""
    untyped: Any = client
    info = untyped.info("memory")
    return int(info["used_memory"])


def reporting(seconds: float, workers: int, rate: int, fsync: str) -> Iterator[str]:
    """Measure Redis' CPU for each report while workers do as many as the rate allows."""
    with Stage(Account(rate=rate), options={"appendfsync": fsync}) as stage, ExitStack() as stack:
        started = [stack.enter_context(stage.worker()) for _ in range(workers)]
        stage.push(round((1.3 * rate if rate < UNLIMITED else FASTEST) * (seconds + SETTLE)))
        stage.wait(lambda: stage.taken() > 0, *started)
        time.sleep(SETTLE)
        begun, taken, cpu = time.monotonic(), stage.taken(), redis_cpu(stage.redis)
        time.sleep(seconds)
        passed, done = time.monotonic() - begun, stage.taken() - taken
        used = redis_cpu(stage.redis) - cpu
        each = used / done
        yield (
            f"{workers} workers, appendfsync {fsync}: {done / passed:.0f} reports/s at {used / passed:.1%} of a core, "
            f"{each * 1e6:.0f} us a report: one core carries {1 / each:.0f}/s"
        )


def idle(seconds: float, workers: int) -> Iterator[str]:
    """Measure Redis' CPU while workers have nothing to do."""
    with Stage() as stage, ExitStack() as stack:
        started = [stack.enter_context(stage.worker()) for _ in range(workers)]
        stage.wait(lambda: stage.redis.zcard("otpreport:workers") == workers, *started)
        time.sleep(SETTLE)
        cpu = redis_cpu(stage.redis)
        time.sleep(seconds)
        share = (redis_cpu(stage.redis) - cpu) / seconds / workers
        yield f"an idle worker costs {share:.2%} of Redis' core"


def enqueueing(count: int) -> Iterator[str]:
    """Measure Redis' CPU for each event that a web app enqueues."""
    with Stage() as stage, Reporter(stage.valkey.url, spool=False, timeout=10.0) as reporter:
        new = list(islice(events(), count))
        cpu = redis_cpu(stage.redis)
        for event in new:
            reporter.report(event)
        single = (redis_cpu(stage.redis) - cpu) / count
        cpu = redis_cpu(stage.redis)
        reporter.report_many(new)
        many = (redis_cpu(stage.redis) - cpu) / count
        yield f"report() costs Redis {single * 1e6:.0f} us an event, report_many() {many * 1e6:.1f} us"


def waiting(count: int) -> Iterator[str]:
    """Measure the memory of events that wait."""
    with Stage() as stage:
        before = memory(stage.redis)
        stage.push(count)
        each = (memory(stage.redis) - before) / count
        yield f"a waiting event takes {each:.0f} bytes: {each:.0f} MB a million (measured with {count})"


def remembered(sets: int) -> Iterator[str]:
    """Measure the memory of events that were delivered, by how full the sets are."""
    with Stage() as stage:
        for density in DENSITIES:
            stage.redis.execute_command("FLUSHALL", "SYNC")
            before = memory(stage.redis)
            pipe = stage.redis.pipeline(transaction=False)
            for bucket in range(sets):
                members = (
                    Fingerprint.of("tencent", f"{bucket}-{n}").member(verified=True) for n in range(density)
                )
                pipe.sadd(f"otpreport:done:41234:{bucket}", *members)
                pipe.expire(f"otpreport:done:41234:{bucket}", 90_000)
                if bucket % 100 == 99:
                    pipe.execute()
            pipe.execute()
            each = (memory(stage.redis) - before) / sets / density
            volume = density * 2**BUCKET_BITS / 1e6
            yield f"a remembered event takes {each:.1f} bytes with {volume:.2g} million of them in a generation"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each measurement (15)")
    seconds: float = parser.parse_args().seconds
    parts: list[Callable[[], Iterator[str]]] = [
        lambda: reporting(seconds, 1, 1000, "everysec"),
        lambda: reporting(seconds, 4, 1000, "everysec"),
        lambda: reporting(seconds, 1, 1000, "always"),
        lambda: reporting(seconds, 1, UNLIMITED, "everysec"),
        lambda: idle(seconds, 2),
        lambda: enqueueing(20_000),
        lambda: waiting(200_000),
        lambda: remembered(5000),
    ]
    for part in parts:
        for line in part():
            print(line, flush=True)


if __name__ == "__main__":
    main()
