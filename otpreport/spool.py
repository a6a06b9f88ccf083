"""Where events wait while Redis takes none: on this machine's disk, until a thread has forwarded them."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from otpreport.database import NotOurs
from otpreport.forks import on_fork
from otpreport.link import FATAL, Link
from otpreport.notices import Notices
from otpreport.push import Push, Unavailable, packed
from otpreport.store import SpoolRow, Store, Turn, is_corrupt, is_damage, move_aside, waiting

_log = logging.getLogger("otpreport")

_BATCH = 200
"""Events forwarded in one write."""
_FORWARD_TIMEOUT = 5.0
_IDLE_PAUSE = 5.0
"""Seconds between looks for what another process left behind."""
_LOOK = 1.0
_SHORTEST_PAUSE = 0.05
_LONGEST_PAUSE = 10.0
_TIDY_PAUSE = 30.0
_BATCHES = 20
"""Batches after which the log is emptied: it would grow to the size of all that is removed."""
_BESIDE = 8
"""Files beside one that cannot be used; more than one is needed where a process forks in C, and its children again."""
_ELSEWHERE = "give Reporter(spool=...) a file that this user can write, or False for none"
_NOT_IN_TIME = "the spool did not answer in time"
_REFUSES_ALL = ("OOM", "MISCONF", *FATAL)
_WRITER = "otpreport-spool"
_FORWARDER = "otpreport-forward"


def default_path(name: str) -> Path:
    """Return a file in the user's state folder: XDG_STATE_HOME, else ~/.local/state; RuntimeError without a home."""
    base = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state"
    return folder / "otpreport" / f"spool-{name}.sqlite3"


@dataclass(slots=True, eq=False)
class SpoolEntry:
    """A push on its way to the disk, and what became of it."""

    push: Push
    done: threading.Event = field(default_factory=threading.Event)
    refusal: str = ""


class Spool:
    """A bounded file of messages with two threads: one writes for the callers, one forwards to Redis.

    The callers do no I/O themselves, so that a hung disk holds them no longer than a hung Redis. Several
    processes may share the file; one at a time forwards. Deadlines are seconds of `time.monotonic()`.
    """

    hangs = 30.0
    """Seconds without a forwarded row after which another process' turn is ignored."""

    def __init__(self, path: Path, link: Link, *, limit: int, with_notices: bool = False) -> None:
        self._path = path
        self._link = link
        self._limit = limit
        self._spare = limit if with_notices else 0
        self._forwarded: set[int] = set()
        on_fork(self)
        self.after_fork()

    def after_fork(self) -> None:
        """Start afresh: in a child the threads are gone."""
        self._lock = threading.RLock()  # as in Link
        self._wake_writer = threading.Condition(self._lock)
        self._wake_forwarder = threading.Condition(self._lock)
        self._pending: list[SpoolEntry] = []
        self._closed = False
        self._started = False
        self._notices = Notices()
        self._tidy_at = 0.0
        self._stuck: tuple[int, float] | None = None
        self._wake_closer = threading.Condition(self._lock)
        self._threads: dict[str, threading.Thread] = {}
        self._news = False
        self._begun = self._ended = self._wanted = 0  # the forwarder's looks at the file

    def start(self) -> None:
        """Start each thread unless it runs; where that fails, the next call tries again."""
        if self._started:
            return
        with self._lock, suppress(RuntimeError):  # no more threads: the interpreter is shutting down
            if self._closed:
                return
            for name, target in ((_WRITER, self._write), (_FORWARDER, self._forward)):
                if name not in self._threads:
                    self._threads[name] = self._start_thread(target, name)
            self._started = True

    def _start_thread(self, target: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def has_leftovers(self) -> bool:
        """Return whether a file may exist, with events that an earlier process left."""
        try:
            return self._path.exists()
        except OSError:
            return True  # the threads will tell what is wrong with it

    def turn(self, path: Path) -> AbstractContextManager[Turn | bool]:
        """Return whether this process may forward a file now; others then may not."""
        try:
            return Turn(path)
        except (sqlite3.Error, OSError) as error:
            # two that forward send some events twice, which dedupe settles; none would send nothing
            self._notices.warn(f"forwarding the otpreport spool {path} without a lock: {error}")
            return nullcontext(True)

    def put(self, pushes: Sequence[Push], deadline: float) -> list[str]:
        """Keep messages on disk, each push whole or not at all; return "" or why not, for each, by the deadline."""
        patience = max(0.0, deadline - time.monotonic())
        entries = [SpoolEntry(push) for push in pushes]
        with self._lock:
            if self._closed:
                return ["the spool is closed"] * len(entries)
            if _WRITER not in self._threads:
                return ["the spool has no thread to write with"] * len(entries)
            self._pending += entries
            self._wake_writer.notify()
        self._wait(entries[-1], deadline, patience)
        return [self._refusal(entry) for entry in entries]

    def _wait(self, last: SpoolEntry, deadline: float, patience: float) -> None:
        """Wait for the last of some entries, which are written together."""
        in_time = last.done.wait(max(0.0, deadline - time.monotonic()))
        if not in_time and time.monotonic() > deadline + patience / 4:
            last.done.wait(patience)  # this process was stopped, and its writer with it

    def _refusal(self, entry: SpoolEntry) -> str:
        if entry.done.is_set():
            return entry.refusal
        with self._lock:
            if entry in self._pending:
                self._pending.remove(entry)
                return _NOT_IN_TIME
        return f"{_NOT_IN_TIME} (it may have kept the event)"

    def catch_up(self, seconds: float) -> None:
        """Wait while events of the file are forwarded, until Redis takes no more or the time is over."""
        with self._lock:
            if _FORWARDER in self._threads:
                self._wanted = self._begun + 1  # one that is under way may have missed the last event
                self._wake_forwarder.notify()
                self._wake_closer.wait_for(lambda: self._ended >= self._wanted, seconds)

    def close(self) -> None:
        """Stop the threads; events on disk wait for the next process."""
        with self._lock:
            self._closed = True
            self._wake_writer.notify_all()
            self._wake_forwarder.notify_all()
        for thread in self._threads.values():
            thread.join(_LOOK)

    # The thread that writes. Its Store is held by its frame alone, see there.

    def _write(self) -> None:
        store = self._write_entries(None, [])  # open the file before it is needed
        while (entries := self._next_entries()) is not None:
            store = self._write_entries(store, entries)
        _close(store)

    def _next_entries(self) -> list[SpoolEntry] | None:
        """Wait for entries and take all of them: one commit serves every caller; None once closed."""
        with self._lock:
            while not (self._pending or self._closed):
                self._wake_writer.wait()
            entries, self._pending = self._pending, []
            return entries or None

    def _write_entries(self, store: Store | None, entries: Sequence[SpoolEntry]) -> Store | None:
        """Write entries and settle their callers; return the open store, None after a fault."""
        try:
            store, kept = self._opened(store), list[bool]()
            while entries:
                pushes = [entry.push for entry in entries]
                kept = store.add(pushes, limit=self._limit + self._spare, spare=self._spare)
                if store.is_in_place():
                    break
                store = self._opened(store)  # it was put aside meanwhile: nobody forwards what is there
        except Exception as error:  # whatever it is, the callers are told and the thread lives on
            _settle(entries, [f"the spool cannot be written: {error}"] * len(entries))
            _close(store)
            self._take(error, "written")
            return None
        _settle(entries, ["" if fits else f"the spool is full ({self._limit} events)" for fits in kept])
        self._announce(any(kept))
        return store

    def _opened(self, store: Store | None) -> Store:
        """Return the store while it is the file of its name; else the file, or one beside it where it is another's."""
        if store is not None:
            if store.is_in_place():
                return store
            _close(store)
        *places, last = self._places()
        for path in places:
            try:
                return Store(path)
            except NotOurs as error:
                self._notices.warn(f"otpreport: {error}: using a file beside it")
        return Store(last)

    def _places(self) -> Iterator[Path]:
        yield self._path
        for number in range(1, _BESIDE + 1):
            yield self._path.with_name(f"{self._path.name}.beside-{number}")

    def _take(self, error: Exception, doing: str) -> None:
        """Begin a new file where the old one is corrupt; warn of any other fault."""
        if not (is_damage(error) and self._moved_aside(error)):
            fix = f": {_ELSEWHERE}" if isinstance(error, OSError) else ""
            self._notices.warn(f"the otpreport spool {self._path} cannot be {doing}: {error}{fix}")

    def _moved_aside(self, error: Exception) -> bool:
        """Rename a corrupt file, unless another is at it; False for a sound one, which another may have begun."""
        with suppress(sqlite3.Error, OSError), self.turn(self._path) as mine:
            if not mine:
                return True
            for path in self._places():
                if path.exists() and is_corrupt(path):
                    aside = move_aside(path)
                    _log.error(
                        "the otpreport spool %s was corrupt (%s): moved it to %s and started a new one",
                        path,
                        error,
                        aside,
                    )
                    return True
        return False

    def _announce(self, news: bool) -> None:
        with self._lock:
            self._news = self._news or news
            self._wake_forwarder.notify()

    # The thread that forwards; its Store, too, is held by its frame alone.

    def _forward(self) -> None:
        self._warn_of_other_spools()
        store: Store | None = None
        pause = 0.0
        self._tidy_at = time.monotonic() + _LOOK  # the first report shall find the file free
        while self._rest(pause):
            try:
                store = self._opened(store)
                pause = self._forward_all(store, pause)
                self._forward_others(store.path)
            except Exception as error:  # a disk's fault may pass; none of ours shall end the thread
                _close(store)
                self._take(error, "forwarded")
                store, pause = None, _LONGEST_PAUSE
            self._note_look()
        _close(store)

    def _note_look(self) -> None:
        with self._lock:
            self._ended = self._begun
            self._wake_closer.notify_all()

    def _forward_others(self, own: Path) -> None:
        """Forward events in the files beside, left by processes that could not use the main file."""
        for path in self._places():
            if path != own and path.exists():
                with suppress(NotOurs), closing(Store(path)) as store:
                    self._forward_all(store, _IDLE_PAUSE)

    def _warn_of_other_spools(self) -> None:
        """Warn of spools of other addresses that hold events: after a change of address no app forwards them."""
        with suppress(OSError):
            for path in sorted(self._path.parent.glob("spool-*.sqlite3")):
                with suppress(sqlite3.Error):
                    if path.name != self._path.name and (count := waiting(path)):
                        _log.warning(
                            "the otpreport spool %s of another Redis address holds unsent events (%d): if no "
                            "app reports to that address any more, forward them with "
                            "Reporter(redis_url, spool=%r), or delete the file",
                            path,
                            count,
                            str(path),
                        )

    def _rest(self, pause: float) -> bool:
        """Wait for news, or `pause` seconds where Redis has refused; False once closed."""
        with self._lock:
            idle = pause == _IDLE_PAUSE
            self._wake_forwarder.wait_for(
                lambda: self._closed or self._wanted > self._begun or (idle and self._news), pause
            )
            self._news = False
            self._begun += 1
            return not self._closed

    def _forward_all(self, store: Store, pause: float) -> float:
        """Forward events, unless Redis is away or another process does it; return seconds to pause."""
        self._tidy(store)
        if store.is_empty():
            return _IDLE_PAUSE
        if not self._link.wait_until_up(_LOOK):
            self._checkpoint(store)
            return 0.0
        with self.turn(store.path) as mine:
            if mine:
                self._stuck = None
                return self._drain(store, pause, mine)
        return self._drain(store, pause, True) if self._is_stuck(store) else _LOOK

    def _tidy(self, store: Store) -> None:
        """Now and then, and after forwarding, correct the tally and return unused space to the disk."""
        now = time.monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + _TIDY_PAUSE
            with self._or_warn(store, "tidied"), self.turn(store.path) as mine:
                if mine:
                    store.recount()
                    store.shrink()

    def _is_stuck(self, store: Store) -> bool:
        """Return whether another process has had the turn for long without forwarding anything."""
        oldest = next((row.id for row in store.oldest(after=0, most=1)), 0)
        now = time.monotonic()
        if self._stuck is None or self._stuck[0] != oldest:
            self._stuck = (oldest, now)
        if now - self._stuck[1] < self.hangs:
            return False
        self._notices.warn(
            f"forwarding the otpreport spool {store.path}: the process that has the turn makes no progress"
        )
        return True

    def _drain(self, store: Store, pause: float, mine: Turn | bool) -> float:
        after = batches = 0
        later = _IDLE_PAUSE
        self._tidy_at = 0.0
        while mine and not self._closed and (rows := store.oldest(after=after, most=_BATCH)):
            pushes = _pushes(row for row in rows if _mark(row) not in self._forwarded)
            try:
                refusals = self._send(pushes)
            except Unavailable:
                self._checkpoint(store)
                return _SHORTEST_PAUSE
            refused = {push.key for push, refusal in zip(pushes, refusals, strict=True) if refusal}
            gone = [row for row in rows if row.key not in refused or _mark(row) in self._forwarded]
            self._remove(store, gone)
            if refused:
                later = _LOOK if pause == _IDLE_PAUSE else min(_LONGEST_PAUSE, max(_LOOK, 2 * pause))
            if any(refusal.startswith(_REFUSES_ALL) for refusal in refusals):
                break
            after = rows[-1].id
            batches += 1
            if not batches % _BATCHES:
                self._checkpoint(store)
        self._checkpoint(store)
        return _LONGEST_PAUSE if self._forwarded else later

    def _send(self, pushes: Sequence[Push]) -> list[str]:
        deadline = time.monotonic() + _FORWARD_TIMEOUT
        return self._link.push(packed(pushes), len(pushes), deadline) if pushes else []

    def _remove(self, store: Store, rows: Sequence[SpoolRow]) -> None:
        """Remove rows that are forwarded; where the disk refuses remember them, so that they are not sent again."""
        marks = {_mark(row) for row in rows}
        self._forwarded |= marks
        with self._or_warn(store, "cleared of forwarded events"):
            store.remove(rows)
            self._forwarded -= marks

    def _checkpoint(self, store: Store) -> None:
        with self._or_warn(store, "written back"):
            store.checkpoint()

    @contextmanager
    def _or_warn(self, store: Store, doing: str) -> Generator[None]:
        """Warn of what a lock or a full disk forbids, and go on."""
        try:
            yield
        except sqlite3.OperationalError as error:
            self._notices.warn(f"the otpreport spool {store.path} cannot be {doing}: {error}")


def _settle(entries: Sequence[SpoolEntry], refusals: Sequence[str]) -> None:
    for entry, refusal in zip(entries, refusals, strict=True):
        entry.refusal = refusal
        entry.done.set()


def _close(store: Store | None) -> None:
    """Close a store that may be past closing."""
    if store is not None:
        with suppress(sqlite3.Error):
            store.close()


def _mark(row: SpoolRow) -> int:
    """Return what identifies a row: ids may be reused, but its message has a random id."""
    return hash(row.message)


def _pushes(rows: Iterable[SpoolRow]) -> list[Push]:
    """Gather rows into one push for each list, in their order."""
    messages: dict[str, list[bytes]] = {}
    for row in rows:
        messages.setdefault(row.key, []).append(row.message)
    return [Push(key, values) for key, values in messages.items()]
