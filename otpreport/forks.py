"""Fork safety: no lock is held across a fork, and a child starts its own threads and sockets.

Python's fork hooks do both. A server that forks in C does not run them (uWSGI without `--py-call-osafterfork`): its
child is detected by its pid at the next `renew()`. So is monkey patching by gevent or eventlet: an app may be imported
before (`gunicorn --preload -k gevent`), and a greenlet that waits for a lock made before it would stop them all.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, Protocol

_FORK_TIMEOUT = 2.0
"""Seconds a fork waits for steady work to end; a hung disk shall not hang it."""


class Forkable(Protocol):
    """Something with threads or sockets."""

    def after_fork(self) -> None:
        """Forget threads, locks and sockets; called in the child, where no other thread runs."""


class Holder(Protocol):
    """Something that no child may inherit open."""

    def before_fork(self) -> None:
        """Release it; called in the parent, from any thread, while no steady work is under way."""


class _Gate:
    """Counts the threads at steady work; a fork closes it and waits until they are out."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._closed = False

    def enter(self) -> None:
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._inside += 1

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Admit no more, and wait for those inside."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._inside, _FORK_TIMEOUT)

    def open(self) -> None:
        with self._changed:
            self._closed = False
            self._changed.notify_all()


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
_holders: weakref.WeakSet[Holder] = weakref.WeakSet()
_gates = [_Gate()]
_pids = [os.getpid()]
_locks: list[Any] = [threading.Lock]  # what locks were made of: monkey patching puts another in its place
_renewing = threading.RLock()  # a garbage collection in the middle may close a reporter, which renews, too


def on_fork(forkable: Forkable) -> None:
    """Have `forkable.after_fork()` called in every child, as long as the object lives."""
    renew()
    _forkables.add(forkable)


def let_go(holder: Holder) -> None:
    """Have `holder.before_fork()` called before every fork, as long as the object lives; only at steady work."""
    _holders.add(holder)


def renew() -> None:
    """Reset in a child whose fork ran no hook, and after monkey patching; else a no-op that costs one getpid."""
    if os.getpid() == _pids[0] and threading.Lock is _locks[0]:
        return
    with _renewing:
        if os.getpid() != _pids[0] or threading.Lock is not _locks[0]:
            _after_in_child()


@contextmanager
def steady() -> Generator[None]:
    """Block forks meanwhile: for a library whose locks a child would inherit locked."""
    gate = _gates[0]
    gate.enter()
    try:
        yield
    finally:
        gate.leave()


def _before() -> None:
    _gates[0].close()
    if holders := list(_holders):
        thread = threading.Thread(target=_let_go, args=(holders,), name="otpreport-fork", daemon=True)
        thread.start()
        thread.join(_FORK_TIMEOUT)


def _let_go(holders: Iterable[Holder]) -> None:
    for holder in holders:
        holder.before_fork()


def _after_in_parent() -> None:
    _gates[0].open()


def _after_in_child() -> None:
    _gates[0] = _Gate()
    for forkable in list(_forkables):
        forkable.after_fork()
    _locks[0] = threading.Lock
    _pids[0] = os.getpid()  # last: until then no other thread of the child may go on


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
