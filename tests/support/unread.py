"""A worker whose two outputs are one pipe, which nobody reads until asked to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.wait import until
from tests.support.worker_process import RUN, Line, WorkerProcess

ONTO = ("sh", "-c", 'exec "$@" > "$0" 2>&1')
"""A command that runs another with its outputs in a file."""


class UnreadWorker(WorkerProcess):
    """Start a worker and read its start; from then on the pipe fills, until `read`."""

    def __init__(
        self,
        folder: Path,
        config: Path,
        *,
        command: Sequence[str] = RUN,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        path = folder / "unread"
        os.mkfifo(path)
        # both ways, so that opening waits for nobody and the pipe never ends
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._text = b""
        log = folder / "unread.log"
        super().__init__(log, config, command=command, wrapper=(*ONTO, str(path)), environment=environment)

    def wait_until_started(self, deadline: float = 40.0) -> WorkerProcess:
        """Read until it has told its port."""
        until(lambda: '"metrics_port"' in self.read(), deadline=deadline)
        return self

    def read(self) -> str:
        """Return all that it wrote and the pipe could take."""
        with suppress(BlockingIOError):
            while True:
                self._text += os.read(self._pipe, 1 << 16)
        return self._text.decode()

    def lines(self, event: str | None = None) -> list[Line]:
        """Return what was read of its log, or the lines of one event; AssertionError for one that is no whole line."""
        whole = self._text.rpartition(b"\n")[0].decode().splitlines()
        # Celery says its own
        found: list[Line] = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in found if event in {None, line["event"]}]

    def clean_up(self) -> None:
        """End it, and the pipe."""
        super().clean_up()
        os.close(self._pipe)
