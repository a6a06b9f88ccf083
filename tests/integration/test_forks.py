"""Forks: the child starts afresh, and never in the middle of what must not be cut."""

import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from otpreport.forks import on_fork, renew, steady

fork_in_c: Callable[[], int] = ctypes.PyDLL(None).fork
"""Forks as uWSGI does: no hook of Python's runs."""


def child_says(check: Callable[[], bool], fork: Callable[[], int] = os.fork) -> bool:
    """Return what a forked child finds."""
    if not (pid := fork()):
        os._exit(int(check()))
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


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
                inside -= 1

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    found = [child_says(lambda: inside == 0) for _ in range(20)]
    stop.set()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


class Counter:
    """Counts how often it was told of a fork."""

    def __init__(self) -> None:
        self.forks = 0

    def after_fork(self) -> None:
        """Count."""
        self.forks += 1


def test_only_the_child_starts_afresh() -> None:
    """The child is told, the parent is not."""
    counter = Counter()
    on_fork(counter)
    assert child_says(lambda: counter.forks == 1)
    assert counter.forks == 0


def test_a_child_of_c_is_told_once() -> None:
    """A fork in C is noticed at the next renewal, once; without one (the control) it is not, nor by the parent."""
    counter = Counter()
    on_fork(counter)

    def renewed() -> bool:
        renew()
        renew()
        return counter.forks == 1

    assert child_says(lambda: counter.forks == 0, fork_in_c)
    assert child_says(renewed, fork_in_c)
    renew()
    assert counter.forks == 0


def test_threads_of_a_child_wait_for_its_renewal() -> None:
    """No thread of the child goes on with what another still renews."""

    class Slow(Counter):
        def after_fork(self) -> None:
            never.wait(0.2)
            super().after_fork()

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

    never = threading.Event()
    counter = Slow()
    on_fork(counter)
    assert child_says(all_wait, fork_in_c)


def test_what_a_child_makes_itself_is_left_alone() -> None:
    """What is made after a fork in C, before the first report, does not start afresh by it."""

    def made() -> bool:
        counter = Counter()
        on_fork(counter)
        renew()
        return counter.forks == 0

    assert child_says(made, fork_in_c)
