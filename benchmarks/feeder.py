"""A busy web app: it enqueues events at a steady rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Self

import redis

from benchmarks.events import messages
from otpreport.wire import queue_name

STEP = 0.01


class Feeder:
    """Enqueue `rates[account]` events a second from `__enter__` to `__exit__`, in steps of 10 ms."""

    def __init__(self, port: int, rates: Mapping[str, float]) -> None:
        self._rates = rates
        self._redis = redis.Redis(port=port, socket_timeout=60)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._redis.close()

    def _run(self) -> None:
        start = time.monotonic()
        sent = dict.fromkeys(self._rates, 0)
        while not self._done.wait(STEP):
            for account, rate in self._rates.items():
                count = int((time.monotonic() - start) * rate) - sent[account]
                if count > 0:
                    self._redis.lpush(queue_name(account), *messages(account, count))
                    sent[account] += count
