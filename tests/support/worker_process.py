"""A worker as a process of its own: its log, its metrics, its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families

from tests.support.wait import until

ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.executable)

CELERY = ("-m", "celery", "-A", "worker", "worker")
RUN = ("-m", "worker", "run")
EXPORTER = ("-m", "worker", "exporter")


def odd(fault: str) -> tuple[str, ...]:
    """Return the command of a worker with a fault of `tests.support.odd_worker`."""
    return ("-m", "tests.support.odd_worker", fault)


# What a log line holds is known to the test that reads it.
Line = dict[str, Any]


class WorkerProcess:
    """Start a worker with the settings of a file; its standard error, which is its log, goes to `log`.

    `root` is the folder that it runs in, the checkout whose code it runs if `python` has none installed.
    """

    def __init__(
        self,
        log: Path,
        config: Path,
        *,
        command: Sequence[str] = RUN,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        root: Path = ROOT,
        python: Path = PYTHON,
    ) -> None:
        self.log = log
        self._port = 0
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
        with log.open("ab") as errors, log.with_suffix(".out").open("ab") as output:
            self._process = subprocess.Popen(
                [*wrapper, str(python), *command],
                cwd=root,
                env=inherited | {"OTPREPORT_CONFIG": str(config)} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it wrote to its standard output."""
        return self.log.with_suffix(".out").read_text()

    @property
    def text(self) -> str:
        """What it wrote to its standard error."""
        return self.log.read_text()

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def lines(self, event: str | None = None) -> list[Line]:
        """Return the log, or its lines of one event; AssertionError for a line that is no JSON."""
        whole = self.text.rpartition("\n")[0]
        lines = [cast("Line", json.loads(line)) for line in whole.splitlines()]
        return [line for line in lines if event in {None, line["event"]}]

    def wait_until_started(self, deadline: float = 40.0) -> WorkerProcess:
        """Wait until the worker says that it has started; AssertionError when it ends instead."""

        def has_started() -> bool:
            assert self.running, f"the worker ended with status {self._process.returncode}:\n{self.text}"
            return bool(re.search(r'"metrics_port":\d+', self.text))

        until(has_started, deadline=deadline)
        return self

    @property
    def id(self) -> str:
        """What the worker calls itself in Redis."""
        return str(self.lines("worker started")[-1]["worker"])

    @property
    def port(self) -> int:
        """The port of its metrics, as its log says."""
        if not self._port:
            self._port = next(int(line["metrics_port"]) for line in self.lines() if "metrics_port" in line)
        return self._port

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of a page of its small server."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of all samples of this name that have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def send(self, number: signal.Signals) -> None:
        """Send the worker a signal."""
        os.kill(self.pid, number)

    def kill9(self) -> None:
        """End the worker as a crash would, and what it is wrapped in."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=20)

    def terminate(self) -> None:
        """Ask the worker to end (SIGTERM)."""
        self.send(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop the worker where it is (SIGSTOP)."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen worker go on."""
        self.send(signal.SIGCONT)

    def wait(self, deadline: float = 60.0) -> int:
        """Return the exit status; AssertionError when the worker does not end in time."""
        try:
            return self._process.wait(timeout=deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"worker {self.pid} did not end within {deadline} s") from None

    def clean_up(self) -> None:
        """End the worker, whatever state it is in."""
        if self.running:
            self.kill9()
