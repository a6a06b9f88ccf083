"""A stock Celery worker on the stock redis:// transport, to see what it loses under the same faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Self

from tasks.message import decode
from tests.support.admin import admin
from tests.support.fleet import Fleet
from tests.support.wait import until
from tests.support.worker_process import ROOT

COMMAND = [
    *("-m", "celery", "-A", "tests.support.stock_late", "worker", "--pool=threads", "--concurrency=20"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
]
READY = "stock worker is ready"


class Stock:
    """Run one stock worker at a time against a fleet's Redis."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    @property
    def pid(self) -> int:
        """The process id of the worker that runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the worker has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start a worker and wait until it consumes."""
        server = self._fleet.valkey
        log = self._fleet.folder / f"stock-{self._starts}.log"
        environment = os.environ | {"STOCK_BROKER": server.url, "STOCK_PORT": str(server.port)}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *COMMAND], cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        self._starts += 1
        until(lambda: READY in log.read_text(), deadline=60)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def lost(self) -> int:
        """Return how many events were not done and are in no structure of Redis any more."""
        client = admin(self._fleet.redis)
        waiting = {decode(raw).task_id for raw in client.lrange("otpreport.tencent", 0, -1)}
        kept = {json.loads(entry)[0]["headers"]["id"] for entry in client.hvals("unacked")}
        done = {entry.decode().split(" ")[0] for entry in client.lrange("seen", 0, -1)}
        return len({event.message_id for event in self._fleet.sent} - waiting - kept - done)
