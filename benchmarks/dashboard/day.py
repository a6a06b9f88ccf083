"""A run of some minutes in which much goes wrong, scraped by a Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.dashboard.page import Page
from tests.support.fleet import ALIBABA, LONG, Account, Fleet
from tests.support.prometheus import Prometheus
from tests.support.worker_process import EXPORTER, WorkerProcess

ACCOUNTS = (
    Account("tencent", "tencent", 100, settings={"max_in_flight": 8}),
    Account("alibaba", "alibaba", 60, settings={"max_in_flight": 4}),
)
TRAFFIC = {"tencent": 60, "alibaba": 30}
"""Events a second."""

LATENCY = {"base_ms": 30, "jitter_ms": 20, "tail_share": 0.01, "tail_median_ms": 300}
WRONG = {"kind": "code", "provider": "tencent", "message_id": "wrong-*", "code": "InvalidParameterValue"}
OUTAGE = {"kind": "unavailable", "provider": "tencent"}
SETTINGS = {
    **LONG,
    "lease": 10.0,
    "read_timeout": 4.0,
    "retry_base": 1.0,
    "retry_cap": 30.0,
    "concurrency": 100,
}


@contextmanager
def day(folder: Path, say: Callable[[str], None]) -> Generator[Page]:
    """Live through it; yield once, at its end, what can draw it."""
    plan = {"latency": LATENCY, "faults": [WRONG]}
    with Fleet(folder, *ACCOUNTS, plan=plan, settings=SETTINGS, options={"maxmemory": "48mb"}) as fleet:
        fleet.configure(metrics_port=9810)
        workers = fleet.start_workers(2)
        exporter = fleet.start_worker(EXPORTER)
        jobs = {"worker": [worker.port for worker in workers], "exporter": [exporter.port]}
        with Prometheus(folder / "prometheus", jobs) as prometheus, _traffic(fleet):
            time.sleep(20)
            begin = time.time()
            for sentence, seconds, happen in _story(fleet, workers):
                say(sentence)
                happen()
                time.sleep(seconds)
            yield Page(prometheus, begin, time.time())


@contextmanager
def _traffic(fleet: Fleet) -> Generator[None]:
    with fleet.producing(TRAFFIC["tencent"]), fleet.producing(TRAFFIC["alibaba"], "alibaba"):
        yield


def _story(fleet: Fleet, workers: list[WorkerProcess]) -> Generator[tuple[str, float, Callable[[], object]]]:
    """Yield what happens, how long to go on afterwards, and what makes it happen."""
    change = fleet.simulator.change_plan
    yield "a quiet start", 45, lambda: None
    yield "Tencent answers 503 to everything", 75, lambda: change(faults=[OUTAGE])
    yield "Tencent is back", 90, lambda: change(faults=[WRONG])
    yield "twelve events that Tencent refuses for good", 15, lambda: fleet.enqueue(12, prefix="wrong-")
    yield "Alibaba lowers its limit to 20 a second, unasked", 45, lambda: change(rates={ALIBABA.key: 20})
    yield "Alibaba's limit is as it was", 60, lambda: change(rates={})
    yield "a spike of 3000 events", 45, lambda: fleet.enqueue(3000, prefix="spike-")
    yield "a worker is killed", 12, workers[0].kill9
    yield "and started again", 60, fleet.start_worker
    yield "an operator pauses alibaba", 30, lambda: _accounts(fleet, "pause", "alibaba", "--reason", "a bill")
    yield "and resumes it", 45, lambda: _accounts(fleet, "resume", "alibaba")


def _accounts(fleet: Fleet, *arguments: str) -> None:
    command = fleet.launch(("-m", "worker", "accounts", *arguments))
    if command.wait():
        raise RuntimeError(command.text)
