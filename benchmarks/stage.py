"""What every worker is measured on: one Valkey, one simulated provider that answers in 50 ms."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from benchmarks.accounts import Account
from benchmarks.events import messages
from benchmarks.process import Process
from otpreport.wire import queue_name
from tests.support.admin import admin
from tests.support.simulator import SimulatorProcess
from worker.embedded import EmbeddedValkey

ANSWER_MS = 50
_CHUNK = 1000


class Stage:
    """Run Valkey and the simulator, each in its own process, while the context is open.

    `options` are Valkey's, `faults` the simulator's. Valkey syncs its append-only file once a second:
    with each write, as compose has it, those who write for every single report would look worse.
    """

    def __init__(
        self,
        *accounts: Account,
        faults: Sequence[dict[str, object]] = (),
        options: dict[str, str] | None = None,
    ) -> None:
        self.accounts = accounts or (Account(),)
        self._plan = {"latency": {"base_ms": ANSWER_MS}, "faults": list(faults)}
        self.options = {"appendfsync": "everysec", "auto-aof-rewrite-percentage": "0"} | (options or {})
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
            self.valkey = stack.enter_context(EmbeddedValkey(self.folder / "valkey", options=self.options))
            settings = {"keys": [account.simulated() for account in self.accounts], "plan": self._plan}
            self.simulator = stack.enter_context(SimulatorProcess(settings))
            self.redis: Any = stack.enter_context(admin(self.valkey.port))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def clear(self) -> None:
        """Empty Redis and the simulator's ledger, for the next to be measured."""
        self.redis.flushall()
        self.simulator.reset()

    def launch(self, *arguments: str, **environment: str) -> Process:
        """Start a process of this checkout's Python."""
        return Process(arguments, environment, self.folder / f"process-{next(self._numbers)}.log")

    def worker(self, *accounts: Account, redis_url: str = "") -> Process:
        """Start an otpreport worker as it ships, save for a free port for its metrics."""
        config = self.folder / f"otpreport-{next(self._numbers)}.toml"
        head = f'redis_url = "{redis_url or self.valkey.url}"\nmetrics_port = 0\nlog_format = "json"\n\n'
        tables = [account.configured(self.simulator.url) for account in accounts or self.accounts]
        config.write_text(head + "\n".join(tables))
        return self.launch("-m", "worker", "run", OTPREPORT_CONFIG=str(config))

    def push(self, count: int, account: str = "tencent") -> None:
        """Enqueue new events, as `Reporter.report_many` would."""
        for first in range(0, count, _CHUNK):
            self.redis.lpush(queue_name(account), *messages(account, min(_CHUNK, count - first)))

    def taken(self, account: str | None = None) -> int:
        """Return how many reports the provider has taken, of one account or of all."""
        summary = self.simulator.summary()
        keys = {known.key for known in self.accounts if account in {None, known.name}}
        return sum(int(entry["taken"]) for entry in summary["keys"] if entry["key"] in keys)

    def wait(self, check: Callable[[], bool], *processes: Process, deadline: float = 60.0) -> None:
        """Wait until `check()` holds; RuntimeError when a process ends instead, or after so many seconds."""
        end = time.monotonic() + deadline
        while not check():
            for process in processes:
                process.check()
            if time.monotonic() > end:
                raise RuntimeError(
                    f"nothing within {deadline:.0f} s:\n" + "\n".join(process.tail for process in processes)
                )
            time.sleep(0.05)

    def redis_megabytes(self) -> float:
        """Return the memory of Redis' data set."""
        used: int = self.redis.info("memory")["used_memory"]
        return used / 1e6
