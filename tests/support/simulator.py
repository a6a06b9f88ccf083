"""The simulator as a process of its own, and its control API."""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, cast

ROOT = Path(__file__).parents[2]
_PAGE = 20_000

# What JSON holds is known to the test that reads it.
Json = dict[str, Any]


class SimulatorProcess:
    """Start `python -m simulator` on a free port with settings (a dict or a file) and wait until it listens.

    Its standard error goes to a file, shown when it does not start.
    """

    def __init__(self, config: Mapping[str, object] | Path | None = None, *, deadline: float = 20.0) -> None:
        self._config = config
        self._deadline = deadline
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.log = ""  # what it wrote to its standard error, once stopped

    def __enter__(self) -> SimulatorProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running().pid

    def start(self) -> None:
        """Start the process; AssertionError with its standard error when it does not listen in time."""
        self._folder = tempfile.TemporaryDirectory(prefix="simulator-")
        with self._log_file.open("wb") as errors:
            self._process = subprocess.Popen(self._command(), stdout=subprocess.PIPE, stderr=errors, cwd=ROOT)
        line = self._first_line(cast("IO[bytes]", self._process.stdout))
        if not line:
            self.stop()
            raise AssertionError(f"the simulator did not start: {self.log}")
        self.url = json.loads(line)["url"]

    def stop(self) -> int:
        """End the process, also a frozen one; return its exit status, the same when it is stopped again."""
        process = self._running()
        if process.stdout is None or process.stdout.closed:
            return process.wait()
        if process.poll() is None:
            self.thaw()
            process.terminate()
        status = process.wait(timeout=20)
        process.stdout.close()
        self.log = self._log_file.read_text()
        self._folder.cleanup()
        return status

    def is_running(self) -> bool:
        """Tell whether the process has not ended."""
        return self._running().poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._running().send_signal(number)

    def freeze(self) -> None:
        """Stop the process where it is (SIGSTOP)."""
        self.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self.send_signal(signal.SIGCONT)

    def summary(self) -> Json:
        """Return the figures."""
        return cast("Json", self._ask("GET", "/-/summary"))

    def key(self, provider: str, key: str | None = None) -> Json:
        """Return the figures of one key of a provider: the named one, or its first."""
        keys: list[Json] = self.summary()["keys"]
        return next(entry for entry in keys if entry["provider"] == provider and key in {None, entry["key"]})

    def ledger(self) -> list[Json]:
        """Return every arrival."""
        rows: list[Json] = []
        while page := self._text("GET", f"/-/ledger?from={len(rows)}&limit={_PAGE}").splitlines():
            rows += [json.loads(line) for line in page]
        return rows

    def seconds(self, key: str) -> dict[int, int]:
        """Return the arrivals of one key by UNIX second."""
        books = cast("list[Json]", self._ask("GET", "/-/seconds"))
        return {second: n for book in books if book["key"] == key for second, n in book["seconds"]}

    def twice(self) -> list[Json]:
        """Return everything that was taken more than once."""
        return cast("list[Json]", self._ask("GET", "/-/twice"))

    def expect(self, ids: Iterable[str], *, key: str | None = None) -> Json:
        """Return which of these ids were never taken, and how many others were."""
        return cast("Json", self._ask("POST", "/-/expect", {"ids": list(ids), "key": key}))

    def plan(self) -> Json:
        """Return the plan in force."""
        return cast("Json", self._ask("GET", "/-/plan"))

    def set_plan(self, plan: Mapping[str, object]) -> None:
        """Let another plan hold; AssertionError with its faults when it is refused."""
        self._ask("PUT", "/-/plan", plan)

    def change_plan(self, **changes: object) -> None:
        """Replace some fields of the plan, e.g. `rates={"AKID...": 200}`."""
        self._ask("PATCH", "/-/plan", changes)

    def reset(self) -> None:
        """Begin a new ledger and empty rate windows; the plan stays."""
        self._ask("POST", "/-/reset")

    @property
    def _log_file(self) -> Path:
        return Path(self._folder.name) / "stderr.log"

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the simulator was never started"
        return self._process

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "simulator", "--port", "0"]
        if self._config is None:
            return command
        if isinstance(self._config, Path):
            return [*command, "--config", str(self._config)]
        path = Path(self._folder.name) / "simulator.json"
        path.write_text(json.dumps(self._config))
        return [*command, "--config", str(path)]

    def _first_line(self, output: IO[bytes]) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            return output.readline() if selector.select(self._deadline) else b""

    def _ask(self, method: str, path: str, data: object = None) -> object:
        answer: object = json.loads(self._text(method, path, data))
        return answer

    def _text(self, method: str, path: str, data: object = None) -> str:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.url + path, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return cast("bytes", response.read()).decode()
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None
