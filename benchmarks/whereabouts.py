"""Where a worker spends its time: py-spy's samples, put to the part of the program that asked for the work.

py-spy is not a dependency of the project: install it and put it on the PATH.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable

from benchmarks.contenders import OURS, RATE
from benchmarks.effort import Effort
from benchmarks.feeder import Feeder
from benchmarks.finding import Finding
from benchmarks.process import Process
from benchmarks.reading import measure
from benchmarks.rounds import FIRST, started
from benchmarks.stage import Stage

SAMPLES = 250
"""A second."""

PARTS = {
    "worker/http/client.py": "HTTP",
    "worker/http/http1.py": "HTTP",
    "worker/http/connections.py": "HTTP",
    "worker/http/dial.py": "HTTP",
    "worker/http/race.py": "HTTP",
    "worker/script_connection.py": "call scripts",
    "worker/connect.py": "call scripts",
    "tasks/script.py": "call scripts",
    "redis/": "call scripts",
    "providers/": "sign the request, read the answer",
    "otpreport/": "read the message",
    "tasks/message.py": "read the message",
    "tasks/delivery.py": "read the message",
    "tasks/dedupe.py": "read the message",
    "tasks/limiter/admission.py": "admission: rate and dedupe",
    "tasks/queue/queue.py": "lease and settle",
    "worker/engine.py": "lease and settle",
    "tasks/": "report: decide what follows",
    "prometheus_client/": "metrics and logs",
    "worker/observer.py": "metrics and logs",
    "worker/counts.py": "metrics and logs",
    "worker/metrics.py": "metrics and logs",
    "config/logging.py": "metrics and logs",
    "config/output.py": "metrics and logs",
    "celery/": "Celery and kombu",
    "kombu/": "Celery and kombu",
    "worker/bridge/": "Celery and kombu",
    "worker/runtime.py": "loop and the rest",
}
REST = "loop and the rest"


def run(effort: Effort) -> Finding:
    """Sample a worker at 1000 reports a second, between two readings of its CPU time without the sampler."""
    with Stage() as stage:
        stage.push(FIRST)
        with OURS.start(stage) as process:
            started(stage, process)
            with Feeder(stage.valkey.port, {"tencent": RATE}):
                reading = measure(stage, process, warm_up=effort.warm_up, seconds=effort.seconds)
                stacks = _sample(stage, process, round(effort.of(20, 5)))
    shares = by_part(stacks.splitlines())
    rows = [(part, f"{share:.0%}", f"{share * reading.worker_us:.0f}") for part, share in shares]
    rows.append(("all", "100%", f"{reading.worker_us:.0f}"))
    data = {"shares": dict(shares), "worker_us": reading.worker_us}
    return Finding("Where the time goes", ("", "share", "us a report"), rows, data=data)


def by_part(stacks: Iterable[str]) -> list[tuple[str, float]]:
    """Return each part's share of the samples, the greatest first; a stack is `outer;...;inner number`."""
    counts: Counter[str] = Counter()
    for line in stacks:
        stack, _, number = line.rpartition(" ")
        counts[_part(stack.split(";"))] += int(number)
    total = counts.total() or 1
    return [(part, count / total) for part, count in counts.most_common()]


def _part(frames: list[str]) -> str:
    """Return the part of the innermost frame that has one: a library works for whoever called it."""
    for frame in reversed(frames):
        for place, part in PARTS.items():
            if place in frame.partition("(")[2]:
                return part
    return REST


def _sample(stage: Stage, process: Process, seconds: int) -> str:
    """Return the stacks of the thread that had Python's lock; RuntimeError without py-spy.

    Others wait, though py-spy takes a loop that waits for the network for busy.
    """
    program = shutil.which("py-spy")
    if program is None:
        raise RuntimeError("py-spy is not on the PATH: install it into a virtual environment of its own")
    output = stage.folder / "stacks"
    command = [program, "record", "--gil", "--format", "raw", "--rate", str(SAMPLES)]
    command += ["--duration", str(seconds), "--pid", str(process.pid), "--output", str(output)]
    subprocess.run(command, check=True, capture_output=True)
    return output.read_text()
