"""Who is measured side by side."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks.accounts import UNLIMITED, Account
from benchmarks.process import Process
from benchmarks.stage import Stage
from otpreport.wire import queue_name

RATE = 1000
"""Reports a second that each is offered: Tencent's limit."""

QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that reports events; `queued`: it takes them from Redis. `feed` offers events in its own format."""

    name: str
    label: str
    start: Callable[[Stage], Process]
    queued: bool = True
    needs: str = "celery"
    feed: Callable[[Stage], AbstractContextManager[object]] | None = None

    @property
    def available(self) -> bool:
        """Whether its dependencies are installed."""
        return importlib.util.find_spec(self.needs) is not None


def stock(
    stage: Stage,
    *,
    pool: str = "threads",
    sender: str = "shared",
    concurrency: int = 100,
    redis_url: str = "",
) -> Process:
    """Start a stock Celery worker."""
    command = ["-m", "celery", "-A", "benchmarks.stock", "worker", "-P", pool, "-c", str(concurrency)]
    return stage.launch(
        *command,
        *("-Q", queue_name("tencent")),
        *QUIET,
        BENCHMARK_REDIS=redis_url or stage.valkey.url,
        BENCHMARK_ENDPOINT=stage.simulator.url,
        BENCHMARK_SENDER=sender,
        BENCHMARK_CONCURRENCY=str(concurrency),
    )


def floor(stage: Stage, rate: int = RATE) -> Process:
    """Start the bare loop."""
    return stage.launch("-m", "benchmarks.floor", stage.simulator.url, str(rate))


OURS = Contender("otpreport", "otpreport, one worker process", lambda stage: stage.worker())
OURS_UNLIMITED = Contender(
    "otpreport", "otpreport, one worker process", lambda stage: stage.worker(Account(rate=UNLIMITED))
)
STOCK_THREADS = Contender("threads", "Celery, 100 threads, one httpx.Client", stock)
STOCK_OWN = Contender(
    "threads-own", "Celery, 100 threads, a client each", lambda stage: stock(stage, sender="own")
)
# 50, because httpx's pool polls each of its idle connections for each request: with 100 or 200 it is slower
STOCK_GEVENT = Contender(
    "gevent",
    "Celery, gevent, one httpx.Client",
    lambda stage: stock(stage, pool="gevent", concurrency=50),
    needs="gevent",
)
STOCK_SDK = Contender(
    "prefork-sdk",
    "Celery, 20 processes, Tencent's SDK",
    lambda stage: stock(stage, pool="prefork", sender="sdk", concurrency=20),
    needs="tencentcloud",
)
FLOOR = Contender("floor", "floor: aiohttp, no queue", floor, queued=False)
BARE = Contender(
    "bare",
    "floor: Protocol and httptools, no client, no queue",
    lambda stage: stage.launch("-m", "benchmarks.bare", stage.simulator.url, str(RATE)),
    queued=False,
)
FLOOR_UNLIMITED = Contender("floor", "floor: aiohttp, no queue", lambda stage: floor(stage, 0), queued=False)

ALL = (OURS, STOCK_THREADS, STOCK_OWN, STOCK_GEVENT, STOCK_SDK, FLOOR)
