"""What a web app's start pays: time and memory of an import, beside those of a bare Python."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.reading import Spread, ratios

REPORTER = "from otpreport import Reporter; Reporter('redis://127.0.0.1:1/0', spool=False)"
STARTS = {
    "import otpreport": "import otpreport",
    "... and make a Reporter": REPORTER,
    "stock Celery: make an app": "from celery import Celery; Celery(broker='redis://127.0.0.1:1/0').connection().transport",
}
OURS = "import otpreport"

PROBE = """
import json, time
def used():
    with open("/proc/self/status") as status:  # getrusage knows the greatest memory of the parent, too
        (peak,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return time.process_time() * 1e3, peak / 1024
before = used()
{code}
print(json.dumps([now - then for now, then in zip(used(), before)]))
"""


def run(effort: Effort) -> Finding:
    """Start a Python for each, in turns; the first round reads the files from the disk."""
    cpu: dict[str, list[float]] = {label: [] for label in STARTS}
    memory: dict[str, list[float]] = {label: [] for label in STARTS}
    for number in range(effort.rounds * effort.of(5, 1) + 1):
        for label, code in STARTS.items():
            milliseconds, megabytes = _start(code)
            say(f"  {label}: {milliseconds:.0f} ms, {megabytes:.1f} MB")
            if number:
                cpu[label].append(milliseconds)
                memory[label].append(megabytes)
    rows = [
        (
            label,
            Spread.of(cpu[label]).text(),
            ratios(cpu[label], cpu[OURS]).text(2),
            Spread.of(memory[label]).text(1),
        )
        for label in STARTS
    ]
    header = ("", "CPU, ms", "x import", "memory, MB")
    return Finding("What a web app's start pays", header, rows, data={"cpu": cpu, "memory": memory})


def _start(code: str) -> tuple[float, float]:
    """Return the milliseconds and megabytes that some code takes in a new process."""
    command = [sys.executable, "-c", PROBE.format(code=code)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    milliseconds, megabytes = json.loads(shown)
    return milliseconds, megabytes
