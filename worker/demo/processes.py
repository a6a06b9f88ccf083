"""The demo's processes: an embedded Valkey, the simulator and one worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import redis

from simulator.settings import EXAMPLE, parse
from worker.cli.simulate import toml_accounts
from worker.embedded import EmbeddedValkey, free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CONFIG = """\
# Written by the demo; use it with OTPREPORT_CONFIG={path}
redis_url = "{redis_url}"
metrics_port = {metrics_port}
retry_base = 0.5
retry_cap = 3.0
"""

STORY = 'unverified = "report"\n'
"""What the last account has besides, for `--story`."""

RUN = ("-m", "otpreport", "run")
HURRIED = (
    "-c",
    "from otpreport import app_folder; app_folder.put_first(); from worker.demo.hurried import main; main()",
)
"""Arguments of Python that run a worker, and one whose OTPs close soon."""


class Processes:
    """Start all three and always stop them; RuntimeError if one does not start.

    Each is in a process group of its own: Ctrl-C reaches the demo alone, which ends them all at once.
    """

    def __init__(self, folder: Path, accounts: Sequence[str], *, story: bool = False) -> None:
        self.folder = folder
        self._settings = _simulated(accounts, trouble=not story)
        self._more = STORY if story else ""
        self._worker = HURRIED if story else RUN
        self.config = folder / "otpreport.toml"
        self.worker_log = folder / "worker.log"
        self.simulator_url = ""
        self.metrics_url = ""
        self.valkey = EmbeddedValkey(folder / "valkey", own_group=True)
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self.valkey.start()
            self._start_simulator()
            self._start_worker()
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        if kind is not None:
            self.kill()
        for child in reversed(self._children):
            child.terminate()
        for child in reversed(self._children):
            child.wait(timeout=40)
            if child.stdout:
                child.stdout.close()
        self.valkey.stop()

    def kill(self) -> None:
        """End all at once: nobody needs what they hold."""
        for child in self._children:
            child.kill()
        if self.valkey.is_running():
            self.valkey.kill()

    def failed(self) -> str | None:
        """Name what exited; None while all run."""
        if not self.valkey.is_running():
            return f"Valkey exited, the last line of its log: {self.valkey.last_words()}"
        for child in self._children:
            if child.poll() is not None:
                return f"{' '.join(map(str, child.args[1:4]))} exited with status {child.returncode}"  # type: ignore[index]
        return None

    def _start_simulator(self) -> None:
        settings = self.folder / "simulator.json"
        settings.write_text(json.dumps(self._settings))
        arguments = [sys.executable, "-m", "otpreport", "simulate", "--config", str(settings)]
        child = subprocess.Popen(
            arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
        )
        self._children.append(child)
        line = child.stdout.readline() if child.stdout else b""
        if not line:
            raise RuntimeError("the simulator did not start")
        self.simulator_url = json.loads(line)["url"]

    def _start_worker(self) -> None:
        port = free_port()
        self.metrics_url = f"http://127.0.0.1:{port}"
        self.config.write_text(
            CONFIG.format(
                path=self.config,
                redis_url=self.valkey.url,
                metrics_port=port,
            )
            + toml_accounts(parse(self._settings), self.simulator_url)
            + self._more
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
        environment["OTPREPORT_CONFIG"] = str(self.config)
        with self.worker_log.open("wb") as log:
            self._children.append(
                subprocess.Popen(
                    [sys.executable, *self._worker],
                    cwd=ROOT,
                    env=environment,
                    stdout=log,
                    stderr=log,
                    process_group=0,
                )
            )
        self._wait_until_ready()

    def _wait_until_ready(self, deadline: float = 30.0) -> None:
        end = time.monotonic() + deadline
        while time.monotonic() < end and self.failed() is None:
            try:
                if httpx.get(f"{self.metrics_url}/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"the worker did not start: see {self.worker_log}")


def _simulated(accounts: Sequence[str], *, trouble: bool) -> dict[str, Any]:
    """Return the simulator's settings: the demo's plan, and a key for each account, which is named as its provider.

    Without `trouble` the providers do what they should.
    """
    settings, example = (
        tomllib.loads(file.read_text(encoding="utf-8")) for file in (HERE / "simulator.toml", EXAMPLE)
    )
    keys = {key["provider"]: key for key in (*example["keys"], *settings["keys"])}
    plan = settings["plan"] if trouble else {"latency": settings["plan"]["latency"]}
    return settings | {"plan": plan, "keys": [keys[account] for account in accounts]}


def connect(processes: Processes) -> redis.Redis:
    """Return a client of the demo's Valkey."""
    return redis.Redis(port=processes.valkey.port, decode_responses=True)
