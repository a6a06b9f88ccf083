"""The demo's processes: an embedded Valkey, the simulator and one worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import httpx
import redis

from worker.embedded import EmbeddedValkey, free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CONFIG = """\
# Written by the demo; use it with OTPREPORT_CONFIG={path}
redis_url = "{redis_url}"
metrics_port = {metrics_port}
retry_base = 0.5
retry_cap = 3.0

[accounts.tencent]
provider = "tencent"
endpoint = "{simulator_url}"
secret_id = "AKIDEXAMPLEEXAMPLEEXAMPLEEXAMPLE0001"
secret_key = "EXAMPLEsecretKEYexampleSECRETkey1"
sdk_app_id = "1400006666"

[accounts.alibaba]
provider = "alibaba"
endpoint = "{simulator_url}"
access_key_id = "LTAI5tEXAMPLEEXAMPLE0001"
access_key_secret = "EXAMPLEsecretKEYexampleSECRETkey2"
"""


class Processes:
    """Start all three and always stop them; RuntimeError if one does not start.

    Each is in a process group of its own: Ctrl-C reaches the demo alone, which ends them all at once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        self.valkey.stop()

    def kill(self) -> None:
        """End all at once: nobody needs what they hold."""
        for child in self._children:
            child.kill()
        if self.valkey.is_running():
            self.valkey.kill()

    def failed(self) -> str | None:
        """Name a child that exited; None while all run."""
        for child in self._children:
            if child.poll() is not None:
                return f"{' '.join(map(str, child.args[1:4]))} exited with status {child.returncode}"  # type: ignore[index]
        return None

    def _start_simulator(self) -> None:
        arguments = [sys.executable, "-m", "otpreport", "simulate", "--config", str(HERE / "simulator.toml")]
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
                simulator_url=self.simulator_url,
            )
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
        environment["OTPREPORT_CONFIG"] = str(self.config)
        with self.worker_log.open("wb") as log:
            self._children.append(
                subprocess.Popen(
                    [sys.executable, "-m", "otpreport", "run"],
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


def connect(processes: Processes) -> redis.Redis:
    """Return a client of the demo's Valkey."""
    return redis.Redis(port=processes.valkey.port, decode_responses=True)
