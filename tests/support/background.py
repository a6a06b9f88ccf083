"""Work that goes on in a thread for as long as a context lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def again_and_again(work: Callable[[], object], pause: float) -> Generator[list[object]]:
    """Work every `pause` seconds; yield what it returned."""
    done, results = threading.Event(), list[object]()

    def run() -> None:
        while not done.wait(pause):
            results.append(work())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield results
    finally:
        done.set()
        thread.join()


@contextmanager
def at_rate(rate: float, work: Callable[[int], object]) -> Generator[None]:
    """Tell the work every 20 ms how many are due, so many a second."""
    began, done = time.monotonic(), 0

    def step() -> None:
        nonlocal done
        due = round((time.monotonic() - began) * rate)
        work(due - done)
        done = due

    with again_and_again(step, 0.02):
        yield
