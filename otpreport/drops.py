"""Dropped events: counted for the app, and logged now and then."""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import suppress

from otpreport.forks import on_fork

_log = logging.getLogger("otpreport")

_PAUSE = 60.0
_CLOSE_TIMEOUT = 1.0
"""Seconds that closing waits for a line that is being written."""


class Drops:
    """Counts dropped events, and logs a warning now and then instead of one for each.

    A short-lived thread writes the line: a log handler that hangs blocks neither a caller nor the threads that
    connect to Redis and write the spool. If no thread can be started, drops are only counted.
    """

    def __init__(self) -> None:
        on_fork(self)
        self.after_fork()

    def after_fork(self) -> None:
        """Start afresh: the child has dropped nothing yet."""
        self._lock = threading.RLock()  # as in Link
        self._warned_at = -math.inf
        self._thread: threading.Thread | None = None
        self.count = 0

    def add(self, count: int, reason: str) -> None:
        """Count events that were dropped for a reason."""
        with self._lock:
            self.count += count
            now = time.monotonic()
            if now < self._warned_at + _PAUSE or (self._thread is not None and self._thread.is_alive()):
                return
            with suppress(RuntimeError):  # no more threads, or the interpreter is shutting down
                self._thread = self._warn(reason)
                self._warned_at = now

    def close(self) -> None:
        """Wait a little for the line: it shall not be lost with a process that ends."""
        if self._thread is not None:
            self._thread.join(_CLOSE_TIMEOUT)

    def _warn(self, reason: str) -> threading.Thread:
        line = ("otpreport events dropped (%d so far): %s", self.count, reason)
        thread = threading.Thread(target=_log.warning, args=line, name="otpreport-drops", daemon=True)
        thread.start()
        return thread
