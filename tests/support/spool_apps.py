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
            children = [self._fork(number) for number in range(self._random.randint(1, 2))]
            self._report()
            for child in children:
                os.waitpid(child, 0)
        ends: list[Callable[[], object]] = [self._reporter.close, self._kill, lambda: None]
        self._random.choice(ends)()

    def _report(self) -> None:
        for _ in range(self._random.randint(1, 6)):
            event = verification(f"{self._name}-{self._reported}")
            self._reported += 1
            if self._reporter.report(event).status == "spooled":
                os.write(self._log, f"{event.message_id}\n".encode())
            time.sleep(0.03 * self._random.random())

    def _fork(self, number: int) -> int:
        if not (pid := os.fork()):
            self._name += f".{number}"
            self._random.seed(self._name)
            self.run()
            os._exit(0)
        return pid

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def unlocked(path: Path) -> None:
    """Make the file as the Reporter did once: closing the descriptor drops the locks that SQLite holds on it."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


CONTROLS = {"unlocked": ("_make", unlocked), "inherited": ("let_go", id)}


def main(url: str, spool: str, log: str, starts: str, seed: str, *how: str) -> None:
    """Start so many apps, AT_ONCE at a time."""
    for control in how:
        setattr(database, *CONTROLS[control])
    descriptor = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    running = 0
    for number in range(int(starts)):
        if running == AT_ONCE:
            os.wait()
            running -= 1
        if not os.fork():
            App(url, spool, descriptor, f"{seed}-{number}").run()
            os._exit(0)
        running += 1
    while running:
        os.wait()
        running -= 1


def lost(folder: Path, starts: int, seed: str, *how: str) -> tuple[int, set[str]]:
    """Run them in a process of their own; return how many events were spooled and which of them are not in the file."""
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
    with closing(sqlite3.connect(spool)) as connection:
        rows = connection.execute("SELECT message FROM spool").fetchall()
    return len(told), told - {event_of(message).message_id for (message,) in rows}


if __name__ == "__main__":
    main(*sys.argv[1:])
