"""Non-blocking standard output and error, written by a thread.

A log driver that hangs leaves the pipe full, and every write then blocks: the event loop, a signal handler, the
interpreter at exit. So they write to a bounded queue instead; lines that find it full are dropped and counted.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TextIO, cast

from config import stacks
from config.logging import log_event
from otpreport import forks

logger = logging.getLogger("otpreport.log")

MOST_LINES = 10_000
MOST_BYTES = 4_000_000

AT_ONCE = select.PIPE_BUF
"""Bytes of one write: smaller writes to a pipe are atomic, so lines of processes that share it don't mix."""

EXIT_TIMEOUT = 1.0
"""Seconds that process exit waits for the queue to drain."""


class Output(io.TextIOBase):
    """A text stream whose `write` never blocks; a thread writes whole lines to the file of `stream`."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO, *, lines: int = MOST_LINES, size: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._stream = stream
        self._path = ""
        self._most_lines, self._most_bytes = lines, size
        self._begin()
        forks.on_fork(self)

    def _begin(self) -> None:
        # an RLock: a signal handler may write while its thread does
        self._changed = threading.Condition(threading.RLock())
        self._begun = threading.local()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._unlogged = 0
        self._writing = False
        self._thread = threading.Thread(target=self._run, name="otpreport-log", daemon=True)
        self._thread.start()

    def after_fork(self) -> None:
        """Start empty in a child: the parent writes the queued lines."""
        self._begin()

    def fileno(self) -> int:
        """Return the descriptor of the underlying file."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Say whether the underlying file is a terminal."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str, /) -> int:
        """Queue the whole lines of `text`; a partial line waits for its end or for `flush`."""
        lines, end, rest = (self._rest() + text).rpartition("\n")
        self._begun.text = rest
        if end:
            self._put(lines + end)
        return len(text)

    def flush(self) -> None:
        """Queue the partial line of this thread."""
        if rest := self._rest():
            self._begun.text = ""
            self._put(rest)

    def into_file(self, path: str) -> None:
        """Write to the end of this file from now on, and to a new one after it was moved; OSError if that fails."""
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(file, self.fileno())
        os.close(file)
        self._path = path

    def drain(self, ends: float) -> None:
        """Wait until the queue is written, or until `time.monotonic()` is `ends`."""
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
        self._unlogged += number

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
                self._log_dropped()

    def _take(self) -> bytes:
        """Take the next line, and following ones that fit into the same write."""
        taken = [self._waiting.popleft()]
        size = len(taken[0])
        while self._waiting and size + len(self._waiting[0]) <= AT_ONCE:
            taken.append(self._waiting.popleft())
            size += len(taken[-1])
        return b"".join(taken)

    def _write(self, some: bytes) -> bool:
        """Write to the file, without a timeout; return whether everything was written."""
        if self._path:
            self._follow()
        rest = memoryview(some)
        try:
            while rest:
                try:
                    rest = rest[os.write(self.fileno(), rest) :]
                except BlockingIOError:  # another process that shares the file made it non-blocking
                    select.select([], [self.fileno()], [])
        except OSError:  # the reader is gone or the disk is full: there is nowhere to report it
            return False
        return True

    def _follow(self) -> None:
        """Open the file anew when it was moved away; while that can't be done, write to where it is now."""
        with contextlib.suppress(OSError):
            path = Path(self._path)
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(self.fileno())):
                self.into_file(self._path)

    def _log_dropped(self) -> None:
        """Log how much was dropped once the queue is half empty, not for every line that a slow reader takes."""
        with self._changed:
            if (
                not self._unlogged
                or 2 * self._bytes > self._most_bytes
                or 2 * len(self._waiting) > self._most_lines
            ):
                return
            lines, self._unlogged = self._unlogged, 0
        log_event(logger, logging.ERROR, "log lines dropped", lines=lines)


_outputs: list[Output] = []
_ends: list[float] = []


def take_over() -> None:
    """Route standard output and error through threads from now on: logs, prints, Python's messages at exit.

    Stacks that are asked for from outside go to standard error directly.
    """
    if _outputs:
        return
    stacks.enable()
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is not None:
            output = Output(stream)
            _outputs.append(output)
            setattr(sys, name, output)
            setattr(sys, f"__{name}__", output)  # Celery's banner goes there
    atexit.register(drain)


def into_file(path: str) -> None:
    """Write what goes to standard output and error to the end of a file; OSError when it can't be opened."""
    for output in _outputs:
        output.into_file(path)


def drain() -> None:
    """Wait until all is written, at most one second over all calls."""
    if not _ends:
        _ends.append(time.monotonic() + EXIT_TIMEOUT)
    for output in _outputs:
        output.drain(_ends[0])


def dropped() -> int:
    """Return the lines dropped since the start."""
    return sum(output.dropped for output in _outputs)
