"""Forks: the child starts afresh, and never in the middle of what must not be cut."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from otpreport.forks import steady
from tests.support.c_forks import Counter, child_says


@pytest.mark.parametrize(("work", "cut"), [(steady, False), (nullcontext, True)])
def test_steady_work_is_not_cut(work: Callable[[], AbstractContextManager[None]], cut: bool) -> None:
    """A fork waits until steady work is done; what is not steady (the control) it cuts in the middle."""
    half_way = False
    begun = threading.Event()

    def busy() -> None:
        nonlocal half_way
        with work():
            half_way = True
            begun.set()
            never.wait(0.2)
            half_way = False

    never = threading.Event()
    thread = threading.Thread(target=busy)
    thread.start()
    begun.wait()
    assert child_says(lambda: half_way) is cut
    thread.join()


def test_fork_is_not_held_for_ever() -> None:
    """Steady work that hangs, on a dead disk, holds a fork only for a while."""
    begun, finish = threading.Event(), threading.Event()

    def hang() -> None:
        with steady():
            begun.set()
            finish.wait(60)

    thread = threading.Thread(target=hang)
    thread.start()
    begun.wait()
    assert child_says(lambda: True)
    assert thread.is_alive()
    finish.set()
    thread.join()


def test_busy_threads_do_not_starve_a_fork() -> None:
    """Threads that go from one steady work to the next let a fork in between."""
    stop = threading.Event()
    inside = 0

    def busy() -> None:
        nonlocal inside
        while not stop.is_set():
            with steady():
                inside += 1
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    found = [child_says(lambda: inside == 0) for _ in range(20)]
    stop.set()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


def test_only_the_child_starts_afresh() -> None:
    """The child is told, the parent is not."""
    counter = Counter()
    assert child_says(lambda: counter.forks == 1)
    assert counter.forks == 0


@pytest.mark.parametrize("check", ["told_once", "threads_wait", "left_alone"])
def test_a_fork_in_c(check: str) -> None:
    """Without Python's hooks the next renewal does their work in the child, and nothing elsewhere."""
    subprocess.run([sys.executable, "-m", "tests.support.c_forks", check], timeout=60, check=True)
