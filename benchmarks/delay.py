"""Redis on another machine: 2.6 ms there and back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from benchmarks.contenders import OURS, RATE, Contender, stock
from benchmarks.effort import Effort
from benchmarks.finding import Finding
from benchmarks.process import Process
from benchmarks.reading import Spread
from benchmarks.rounds import disturbance, in_turns, plain
from benchmarks.stage import Stage
from tests.support.admin import admin

ONE_WAY_MS = 1.3


def run(effort: Effort) -> Finding:
    """Measure the rate that otpreport and stock Celery reach of the 1000 a second they are offered."""
    with Stage() as stage, _proxy(stage) as proxy:
        stage.wait(lambda: proxy.output.endswith("\n"), proxy)
        port = int(proxy.output)
        contenders = (OURS, *_far(f"redis://127.0.0.1:{port}/0"))
        readings = in_turns(stage, contenders, effort)
        round_trip = _round_trip_ms(port)
    rows = [
        (
            contender.label,
            Spread.of([reading.rate for reading in readings[contender.name]]).text(),
            Spread.of([reading.worker_us for reading in readings[contender.name]]).text(),
        )
        for contender in contenders
    ]
    note = f"Each is offered {RATE} a second. A PING through the proxy takes {round_trip:.1f} ms. "
    note += disturbance(readings)
    return Finding(
        "Redis 2.6 ms away", ("", "reports/s", "CPU of the worker, us"), rows, note, plain(readings)
    )


def _proxy(stage: Stage) -> Process:
    return stage.launch("-m", "benchmarks.delay_proxy", str(stage.valkey.port), str(ONE_WAY_MS))


def _far(url: str) -> tuple[Contender, ...]:
    workers: dict[str, Callable[[Stage], Process]] = {
        "otpreport": lambda stage: stage.worker(redis_url=url),
        "Celery, 100 threads, one httpx.Client": lambda stage: stock(stage, redis_url=url),
    }
    return tuple(
        Contender(f"{label}, far", f"{label}, Redis 2.6 ms away", start) for label, start in workers.items()
    )


def _round_trip_ms(port: int) -> float:
    """Return the median time of a PING."""
    with admin(port) as client:
        times: list[float] = []
        for _ in range(200):
            start = time.perf_counter()
            client.ping()
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000
