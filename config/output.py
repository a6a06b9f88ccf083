"""What a service says, written by a thread: nobody waits for who reads it.

A log driver that hangs leaves the pipe full, and whoever writes to it then waits: the event loop, a signal's
handler, the interpreter at its end. So all of them write to a queue, which is bounded: what finds it full is dropped
and counted.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from typing import TextIO, cast

from config.logging import log_event
from otpreport import forks

logger = logging.getLogger("otpreport.log")

MOST_LINES = 10_000
MOST_BYTES = 4_000_000

AT_ONCE = select.PIPE_BUF
"""Bytes of one write: those to a pipe go whole, so lines of processes that share it don't mix."""

PATIENCE = 1.0
"""Seconds that the end of the process waits until all is written."""


class Output(io.TextIOBase):
    """A text stream whose `write` never waits; a thread writes whole lines to the file of `stream`."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO, *, lines: int = MOST_LINES, size: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._stream = stream
        self._most_lines, self._most_bytes = lines, size
        self._begin()
        forks.on_fork(self)

    def _begin(self) -> None:
        # an RLock: a signal's handler may write while its thread does
        self._changed = threading.Condition(threading.RLock())
        self._begun = threading.local()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._untold = 0
        self._writing = False
        self._thread = threading.Thread(target=self._run, name="otpreport-log", daemon=True)
        self._thread.start()

    def after_fork(self) -> None:
        """Begin anew in a child: what waits is its parent's to write."""
        self._begin()

    def fileno(self) -> int:
        """Return the number of the file beneath."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Say whether a terminal is beneath."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Say that it may be written to."""
        return True

    def write(self, text: str, /) -> int:
        """Put the lines of `text` in the queue; what begins a line waits for its end, or for `flush`."""
        lines, end, rest = (self._rest() + text).rpartition("\n")
        self._begun.text = rest
        if end:
            self._put(lines + end)
        return len(text)

    def flush(self) -> None:
        """Put what this thread has begun in the queue as it is."""
        if rest := self._rest():
            self._begun.text = ""
            self._put(rest)

    def drain(self, ends: float) -> None:
        """Wait until all is written, or until `time.monotonic()` is `ends`."""
        self.flush()
        with self._changed:
            self._changed.wait_for(
                lambda: not self._waiting and not self._writing, max(0.0, ends - time.monotonic())
            )

    def _rest(self) -> str:
        return cast("str", getattr(self._begun, "text", ""))

    def _put(self, text: str) -> None:
        line = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if len(self._waiting) >= self._most_lines or self._bytes + len(line) > self._most_bytes:
                self._drop(line)
                return
            self._waiting.append(line)
            self._bytes += len(line)
            self._changed.notify_all()

    def _drop(self, lines: bytes) -> None:
        number = max(1, lines.count(b"\n"))
        self.dropped += number
        self._untold += number

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                some = self._take()
                self._writing = True
            written = self._write(some)
            with self._changed:
                self._writing = False
                self._bytes -= len(some)
                if not written:
                    self._drop(some)
                self._changed.notify_all()
            if written:
                self._tell()

    def _take(self) -> bytes:
        """Take the next line, and those after it that fit into the same write."""
        taken = [self._waiting.popleft()]
        size = len(taken[0])
        while self._waiting and size + len(self._waiting[0]) <= AT_ONCE:
            taken.append(self._waiting.popleft())
            size += len(taken[-1])
        return b"".join(taken)

    def _write(self, some: bytes) -> bool:
        """Write to the file, however long it takes; say whether it took all."""
        rest = memoryview(some)
        try:
            while rest:
                try:
                    rest = rest[os.write(self.fileno(), rest) :]
                except BlockingIOError:  # who shares the file made it so
                    select.select([], [self.fileno()], [])
        except OSError:  # nobody reads it any more, or the disk is full: there is no place to say so
            return False
        return True

    def _tell(self) -> None:
        """Log how much was dropped, once the queue is half empty: not again for every line that a slow reader takes."""
        with self._changed:
            if (
                not self._untold
                or 2 * self._bytes > self._most_bytes
                or 2 * len(self._waiting) > self._most_lines
            ):
                return
            lines, self._untold = self._untold, 0
        log_event(logger, logging.ERROR, "log lines dropped", lines=lines)


_outputs: list[Output] = []
_ends: list[float] = []


def take_over() -> None:
    """Let threads write what this process says from now on: its log, what is printed, what Python tells at its end."""
    if _outputs:
        return
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is not None:
            output = Output(stream)
            _outputs.append(output)
            setattr(sys, name, output)
            setattr(sys, f"__{name}__", output)  # Celery's banner goes there
    atexit.register(drain)


def drain() -> None:
    """Wait until all is written, in all calls together a second at most."""
    if not _ends:
        _ends.append(time.monotonic() + PATIENCE)
    for output in _outputs:
        output.drain(_ends[0])


def dropped() -> int:
    """Return how many lines were dropped since the start."""
    return sum(output.dropped for output in _outputs)
