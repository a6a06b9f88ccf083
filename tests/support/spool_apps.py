"""Web apps of one host that share a spool while Redis is away: they start, report, fork and end in any order.

    python -m tests.support.spool_apps URL SPOOL LOG STARTS SEED [unlocked | inherited]

Each appends the message ids it was told are spooled to LOG. The controls: `unlocked` opens and closes the file beside
SQLite, as the Reporter did once, `inherited` forks with the file open.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from otpreport import Reporter, database
from otpreport.database import Database
from tests.support.events import event_of, verification
from worker.embedded import free_port

AT_ONCE = 4


class App:
    """One process that reports, and its forks."""

    def __init__(self, url: str, spool: str, log: int, seed: str) -> None:
        self._log = log
        self._random = random.Random(seed)
        self._name = seed
        self._reported = 0
        self._reporter = Reporter(url, spool=spool, timeout=10.0)

    def run(self) -> None:
        """Report, fork now and then, report again, and end in one of several ways."""
        self._report()
        if self._random.random() < 0.4:
            for number in range(self._random.randint(1, 2)):
                self._fork(number)
            self._report()
        ends: list[Callable[[], object]] = [self._reporter.close, self._kill, lambda: None]
        self._random.choice(ends)()

    def _report(self) -> None:
        for _ in range(self._random.randint(1, 6)):
            event = verification(f"{self._name}-{self._reported}")
            self._reported += 1
            if self._reporter.report(event).status == "spooled":
                os.write(self._log, f"{event.message_id}\n".encode())
            time.sleep(0.03 * self._random.random())

    def _fork(self, number: int) -> None:
        """Fork a child, which may outlive its parent."""
        if not os.fork():
            self._name += f".{number}"
            self._random.seed(self._name)
            self.run()
            os._exit(0)

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def unlocked(path: Path) -> None:
    """Make the file as the Reporter did once: closing the descriptor drops the locks that SQLite holds on it."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


_abandoned: list[object] = []


class Inheriting(Database):
    """A connection that a child believes in: its SQLite holds the locks of its parent, which the child has not."""

    def after_fork(self) -> None:
        """Open the file beside the connection that was inherited."""
        _abandoned.append(self._connection)
        self._connection = None


CONTROLS: dict[str, list[tuple[object, str, object]]] = {
    "unlocked": [(database, "_make", unlocked)],
    "inherited": [(database, "let_go", id), (Database, "after_fork", Inheriting.after_fork)],
}


def main(url: str, spool: str, log: str, starts: str, seed: str, *how: str) -> None:
    """Start so many apps, AT_ONCE at a time."""
    for control in how:
        for changed in CONTROLS[control]:
            setattr(*changed)
    descriptor = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    ended, living = os.pipe()  # every app has its other end
    running = 0
    for number in range(int(starts)):
        if running == AT_ONCE:
            os.wait()
            running -= 1
        if not os.fork():
            App(url, spool, descriptor, f"{seed}-{number}").run()
            os._exit(0)
        running += 1
    os.close(living)
    os.read(ended, 1)


def lost(folder: Path, starts: int, seed: str, *how: str) -> tuple[int, set[str]]:
    """Run them in a process of their own; return how many events were spooled and which of them are in no file."""
    spool, log = folder / "spool.sqlite3", folder / "log"
    url = f"redis://127.0.0.1:{free_port()}/0"
    command = [
        sys.executable,
        "-m",
        "tests.support.spool_apps",
        url,
        str(spool),
        str(log),
        str(starts),
        seed,
        *how,
    ]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, timeout=300)
    told = set(log.read_text().split())
    return len(told), told - {name for file in folder.glob("*.sqlite3*") for name in _rows(file)}


def _rows(file: Path) -> list[str]:
    """Return the message ids in one of a spool's files."""
    if file.name.endswith(("-wal", "-shm", "-turn")):
        return []
    with closing(sqlite3.connect(file)) as connection:
        return [
            event_of(message).message_id for (message,) in connection.execute("SELECT message FROM spool")
        ]


if __name__ == "__main__":
    main(*sys.argv[1:])
