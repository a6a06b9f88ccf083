"""Forks as uWSGI does, in C: no hook of Python's runs.

    python -m tests.support.c_forks CHECK [ARGUMENT]

A process of its own for each check, for a child of a fork in C may hang where a thread of its parent was at work. The
exit status is 0 where the child found what it should.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from otpreport import Reporter
from otpreport.forks import on_fork, renew
from otpreport.store import waiting
from tests.support.admin import admin
from tests.support.events import verification
from worker.embedded import free_port

fork_in_c: Callable[[], int] = ctypes.PyDLL(None).fork


class Counter:
    """Counts how often it is told of a fork, and takes its time."""

    def __init__(self, pause: float = 0.0) -> None:
        self.forks = 0
        self._pause = pause
        on_fork(self)

    def after_fork(self) -> None:
        """Count."""
        time.sleep(self._pause)
        self.forks += 1


def child_says(check: Callable[[], bool], fork: Callable[[], int] = os.fork) -> bool:
    """Return what a forked child finds."""
    if not (pid := fork()):
        os._exit(int(check()))
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def told_once() -> bool:
    """Tell whether a child is noticed at the next renewal, once; without one (the control) it is not."""
    counter = Counter()

    def renewed() -> bool:
        renew()
        renew()
        return counter.forks == 1

    told = child_says(lambda: counter.forks == 0, fork_in_c) and child_says(renewed, fork_in_c)
    renew()
    return told and counter.forks == 0


def threads_wait() -> bool:
    """Tell whether no thread of the child goes on with what another still renews."""
    counter = Counter(pause=0.2)

    def all_wait() -> bool:
        found: list[int] = []

        def work() -> None:
            renew()
            found.append(counter.forks)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found == [1] * 4

    return child_says(all_wait, fork_in_c)


def left_alone() -> bool:
    """Tell whether what is made after the fork, before the first report, is not started afresh by it."""

    def made() -> bool:
        counter = Counter()
        renew()
        return counter.forks == 0

    return child_says(made, fork_in_c)


def reports(url: str) -> bool:
    """Tell whether a child reports over a connection of its own, and the parent goes on with its own."""
    reporter = Reporter(url, spool=False, timeout=30.0)

    def all_queued(who: str) -> bool:
        return {reporter.report(verification(f"{who} {number}")).status for number in range(20)} == {"queued"}

    def connections() -> set[str]:
        with admin(urlsplit(url).port or 0) as client:
            return {one["id"] for one in client.client_list()}

    def child() -> bool:
        return all_queued("child") and len(connections() - known) == 2  # its own, and the one that asks

    before = all_queued("before")
    known = connections()
    time.sleep(0.5)  # the reporter's thread waits again
    return before and child_says(child, fork_in_c) and all_queued("after")


def spools(path: str) -> bool:
    """Tell whether a child leaves its parent's spool alone, which it has no locks of, and spools beside it."""
    reporter = Reporter(f"redis://127.0.0.1:{free_port()}/0", spool=path, timeout=30.0)
    beside = Path(f"{path}.beside-1")

    def spooled() -> bool:
        return reporter.report(verification()).status == "spooled"

    def child() -> bool:
        return spooled() and beside.exists() and waiting(beside) == 1

    before = spooled()
    time.sleep(0.5)  # the reporter's threads wait again
    return before and not beside.exists() and child_says(child, fork_in_c) and spooled()


if __name__ == "__main__":
    sys.exit(not globals()[sys.argv[1]](*sys.argv[2:]))
