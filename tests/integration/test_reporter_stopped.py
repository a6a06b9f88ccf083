"""A process that is stopped in the middle of a report: a container over its CPU quota, a function that is frozen."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from otpreport import Receipt, Reporter
from otpreport.address import connection_pool
from otpreport.connection import Connection
from otpreport.event import Event
from otpreport.link import Link
from otpreport.push import Push, Unavailable, packed
from otpreport.spool import Spool, SpoolEntry
from otpreport.store import Store
from tests.support.events import verification
from tests.support.wait import until
from worker.embedded import free_port

BUDGET = 0.5
ENDLESS = 0.1
"""Seconds."""
COMMAND = packed([Push("otpreport.tencent", [b"message"])])


def stop_until(moment: float) -> None:
    """Do what a stopped process does."""
    until(lambda: time.monotonic() > moment)


class StoppedAfterSending(Connection):
    """A connection of a process that goes on when its deadline has passed, and the answer has come."""

    def _send(self, data: bytes, deadline: float) -> None:
        super()._send(data, deadline)
        until(lambda: self._readable.poll(0))
        stop_until(deadline)


def test_an_answer_that_came_meanwhile_counts(url: str, valkey: redis.Redis) -> None:
    """What Redis has taken is not spooled, and so sent, once more."""
    pool = connection_pool(url, timeout=10.0)
    link = Link(lambda: StoppedAfterSending(pool))
    assert link.warm_up(10.0)
    assert link.push(COMMAND, 1, time.monotonic() + BUDGET) == [""]
    assert valkey.llen("otpreport.tencent") == 1
    link.close()


class Endless(Connection):
    """A connection to a server that answers without end, and fast: there is always more to read."""

    pieces, late = 0, 0

    def _receive(self, deadline: float) -> bytes:
        self.pieces += 1
        self.late += time.monotonic() > deadline
        assert self.late <= 1  # it may have been stopped since it looked at the clock
        return b"x" if self.pieces > 1 else b"$500000000\r\n"


def test_an_answer_without_end(url: str) -> None:
    """An answer that is still incomplete at the deadline has had its time, although there is more to read."""
    pool = connection_pool(url, timeout=10.0)
    link = Link(lambda: Endless(pool))
    assert link.warm_up(10.0)
    with pytest.raises(Unavailable):
        link.push(COMMAND, 1, time.monotonic() + ENDLESS)
    link.close()


class StoppedBeforeSpooling(Reporter):
    """A reporter of a process that goes on when the whole budget is gone."""

    def _enqueue(self, commands: bytes, count: int, deadline: float) -> list[str]:
        reasons = super()._enqueue(commands, count, deadline)
        stop_until(deadline)
        return reasons


def test_the_spool_has_its_share_of_time(tmp_path: Path) -> None:
    """An event that Redis did not take waits on disk, although the time was over before the spool was asked."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    with StoppedBeforeSpooling(url, spool=tmp_path / "spool.sqlite3", timeout=BUDGET) as reporter:
        reporter.warm_up(10.0)
        # not the first, perhaps: on a busy disk the spool's file takes longer to make than its share
        until(lambda: reporter.report(verification()).status == "spooled")


class StoppedWhileSpooling(Spool):
    """A spool of a process that is stopped with an event on its way to the disk, its writer too."""

    def _wait(self, last: SpoolEntry, deadline: float, patience: float) -> None:
        with self._lock:
            stop_until(deadline + patience / 2)
        super()._wait(last, deadline, patience)


def test_the_spool_is_waited_for_once_more(tmp_path: Path) -> None:
    """An event is not said to be dropped while the disk has had no time to take it."""

    def connect() -> Connection:
        raise OSError("away")

    path = tmp_path / "spool.sqlite3"
    link = Link(connect)
    spool = StoppedWhileSpooling(path, link, limit=10)
    spool.start()
    until(path.exists)
    assert spool.put([Push("otpreport.tencent", [b"message"])], time.monotonic() + BUDGET) == [""]
    link.close()
    spool.close()


class HungDisk(StoppedWhileSpooling):
    """A spool whose writer waits for its disk until it is let go."""

    def __init__(self, path: Path, link: Link, *, limit: int) -> None:
        self.let_go = threading.Event()
        super().__init__(path, link, limit=limit)

    def _write_entries(self, store: Store | None, entries: Sequence[SpoolEntry]) -> Store | None:
        if entries:
            self.let_go.wait()
        return super()._write_entries(store, entries)


def test_the_spool_is_waited_for_once_more_for_all(tmp_path: Path) -> None:
    """Many writes of one call, to many queues, have that time together, not each, where the disk hangs, too."""

    def connect() -> Connection:
        raise OSError("away")

    link = Link(connect)
    spool = HungDisk(tmp_path / "spool.sqlite3", link, limit=100)
    spool.start()
    start = time.monotonic()
    pushes = [Push(f"otpreport.account-{number}", [b"message"]) for number in range(40)]
    assert all(spool.put(pushes, start + ENDLESS))
    assert time.monotonic() - start < 10 * ENDLESS
    spool.let_go.set()
    link.close()
    spool.close()


class StoppedInItsThread(Reporter):
    """A reporter whose thread is stopped until half of the budget after the deadline."""

    def _report(self, event: Event, deadline: float) -> Receipt:
        stop_until(deadline + BUDGET / 2)
        return super()._report(event, deadline)


async def test_areport_is_waited_for_once_more(url: str) -> None:
    """A receipt that comes late because the process was stopped, its event loop too, is still that of the event."""
    with StoppedInItsThread(url, spool=False, timeout=BUDGET) as reporter:
        reporter.warm_up(10.0)
        reported = asyncio.create_task(reporter.areport(verification()))
        await asyncio.sleep(0)
        stop_until(time.monotonic() + 1.4 * BUDGET)
        assert (await reported).reason != "no answer in time (the event may still be queued)"
