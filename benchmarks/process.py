"""A process under measurement."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from benchmarks.usage import tree

ROOT = Path(__file__).parents[1]


class Process:
    """Start `python <arguments>` in the checkout; its output goes to the file `log`."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        python: str = sys.executable,
    ) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
        self._log = log
        self.started = time.time()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [python, *arguments],
                cwd=ROOT,
                env=inherited | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Its output so far."""
        return self._log.read_text(errors="replace")

    @property
    def tail(self) -> str:
        """The last lines of that."""
        return "\n".join(line[:300] for line in self.output.splitlines()[-15:])

    def check(self) -> None:
        """Raise RuntimeError with its last lines when it has ended by itself."""
        if self._process.poll() is not None:
            raise RuntimeError(
                f"process {self.pid} ended with status {self._process.returncode}:\n{self.tail}"
            )

    def wait(self, seconds: float) -> int:
        """Wait until it has ended by itself and return its status; RuntimeError after so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise RuntimeError(f"not done after {seconds:.0f} s:\n{self.tail}") from None

    def stop(self, patience: float = 5.0) -> None:
        """Ask the process to end; after `patience` seconds end it and all that it started."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
            return
        for pid in tree(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
