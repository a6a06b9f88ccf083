"""Celery's hub waits for what comes, instead of napping."""

import select
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.asynchronous import Hub

from worker.bridge.hub import keep_awake


@pytest.fixture
def hub() -> Iterator[Any]:
    """Yield a hub of kombu's."""
    hub: Any = Hub()
    yield hub
    hub.close()


def naps(hub: Any) -> list[float]:
    """Return how long the hub slept, deaf, while another thread called it."""
    slept: list[float] = []
    called = threading.Event()
    turns = hub.create_loop(sleep=slept.append)
    caller = threading.Thread(target=hub.call_soon, args=(called.set,))
    caller.start()
    while not called.is_set():
        next(turns)
    caller.join()
    return slept


def test_a_call_is_heard_at_once(hub: Any) -> None:
    """A hub that is kept awake never sleeps without listening."""
    keep_awake(hub)
    assert not naps(hub)


def test_without_it_the_hub_naps(hub: Any) -> None:
    """Negative control: with nothing to watch kombu's hub sleeps, and no call wakes it."""
    assert naps(hub)


def ignore(*_: object) -> None:
    """Do nothing about a signal."""


def test_a_signal_wakes_it(hub: Any) -> None:
    """A signal ends the wait, and is heard once."""
    keep_awake(hub)
    (watched,) = hub.readers
    before = signal.signal(signal.SIGUSR1, ignore)
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert select.select([watched], [], [], 0)[0]
        next(hub.create_loop())
        assert not select.select([watched], [], [], 0)[0]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_closed_hub_leaves_no_trace() -> None:
    """Closing the hub gives the signals back to whom they were written before."""
    hub: Any = Hub()
    keep_awake(hub)
    hub.close()
    assert signal.set_wakeup_fd(-1) == -1
    assert not hub.on_close
