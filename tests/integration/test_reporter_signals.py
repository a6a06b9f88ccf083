"""A signal handler that reports, or closes, wherever the main thread is: SIGTERM comes when it likes."""

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import redis

from otpreport.connection import Connection, Connector
from otpreport.drops import Drops
from otpreport.link import Link
from otpreport.push import Push, Unavailable, packed
from otpreport.spool import Spool
from tests.support.wait import until

QUEUE = "otpreport.tencent"
PUSHES = [Push(QUEUE, [b"message"])]
COMMAND = packed(PUSHES)
PATIENCE = 10.0

pytestmark = pytest.mark.timeout(30)


@contextmanager
def handling(handler: Callable[[], object]) -> Generator[None]:
    """Call a function at SIGUSR1."""

    def handle(number: int, frame: FrameType | None) -> None:
        handler()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


class InterruptedLink(Link):
    """A link that is interrupted while it takes a connection, once."""

    interrupted = False

    def _take_idle(self) -> Connection | None:
        if not self.interrupted:
            self.interrupted = True
            signal.raise_signal(signal.SIGUSR1)
        return super()._take_idle()


def test_a_handler_writes_in_the_middle_of_a_write(url: str, valkey: redis.Redis) -> None:
    """Both arrive; the main thread would wait for its own lock for ever."""
    link = InterruptedLink(Connector(url, timeout=PATIENCE))
    link.warm_up(PATIENCE)
    with handling(lambda: link.push(COMMAND, 1, time.monotonic() + PATIENCE)):
        assert link.push(COMMAND, 1, time.monotonic() + PATIENCE) == [""]
    assert valkey.llen(QUEUE) == 2
    link.close()


def test_a_handler_closes_in_the_middle_of_a_write(url: str) -> None:
    """The write is refused."""
    link = InterruptedLink(Connector(url, timeout=PATIENCE))
    link.warm_up(PATIENCE)
    with handling(link.close), pytest.raises(Unavailable, match="the reporter is closed"):
        link.push(COMMAND, 1, time.monotonic() + 0.2)


class Interrupted(threading.Condition):
    """A condition whose holder is interrupted when it tells who waits, once."""

    interrupted = False

    def notify(self, n: int = 1) -> None:
        """Raise the signal first."""
        if not self.interrupted:
            self.interrupted = True
            signal.raise_signal(signal.SIGUSR1)
        super().notify(n)


class InterruptedSpool(Spool):
    """A spool that is interrupted while it takes a message."""

    def after_fork(self) -> None:
        """Wake the writer by such a condition."""
        super().after_fork()
        self._wake_writer = Interrupted(self._lock)


def test_a_handler_spools_in_the_middle_of_spooling(tmp_path: Path) -> None:
    """Neither waits for ever; the writer has to wait for both, and so may come too late for them."""

    def away() -> Connection:
        raise OSError("away")

    path = tmp_path / "spool.sqlite3"
    link = Link(away)
    spool = InterruptedSpool(path, link, limit=10)
    spool.start()
    until(path.exists)
    handled: list[str] = []
    with handling(lambda: handled.extend(spool.put(PUSHES, time.monotonic() + 0.1))):
        refusals = spool.put(PUSHES, time.monotonic() + PATIENCE)
    assert handled[0].startswith("the spool did not answer in time")
    assert refusals == [""]
    link.close()
    spool.close()


class InterruptedDrops(Drops):
    """Drops that are interrupted while they are counted, once."""

    interrupted = False

    def _warn(self, reason: str) -> threading.Thread:
        if not self.interrupted:
            self.interrupted = True
            signal.raise_signal(signal.SIGUSR1)
        return super()._warn(reason)


def test_a_handler_drops_in_the_middle_of_dropping() -> None:
    """Both are counted."""
    drops = InterruptedDrops()
    with handling(lambda: drops.add(1, "no spool")):
        drops.add(1, "no spool")
    assert drops.count == 2
    drops.close()
