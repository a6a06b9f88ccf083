"""The spool's file: events that wait for Redis, in SQLite."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from otpreport.connection import Push
from otpreport.forks import steady

_SET_UP = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    # A commit never waits for a checkpoint's fsync: the forwarder does those.
    "PRAGMA wal_autocheckpoint = 0",
    f"PRAGMA journal_size_limit = {8 << 20}",
    "CREATE TABLE IF NOT EXISTS spool (id INTEGER PRIMARY KEY, key TEXT NOT NULL, message BLOB NOT NULL)",
    # Counting the rows would read the whole file.
    "CREATE TABLE IF NOT EXISTS tally (rows INTEGER NOT NULL)",
)
_BUSY = 1.0
"""Seconds to wait for another process that writes; callers wait for their own deadline only."""


@dataclass(frozen=True, slots=True)
class Row:
    """One message and the Redis list it is for."""

    id: int
    key: str
    message: bytes


class Store:
    """One connection to the file, for the thread that opened it.

    Commits reach the operating system, not the platter: they outlive a killed process, not a power cut.
    Nobody but that thread's own frame may hold a Store: in a forked child the frame is never torn down, so
    the child can neither use nor close its parent's database (https://www.sqlite.org/howtocorrupt.html, 2.6).
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file, readable by its owner alone; sqlite3.Error or OSError."""
        with steady():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._path, self._inode = path, path.stat().st_ino
            self._database = sqlite3.connect(path, timeout=_BUSY, isolation_level=None)
            self._set_up()

    def _set_up(self) -> None:
        """Make the tables; while another process does the same, SQLite refuses some steps without waiting."""
        end = time.monotonic() + _BUSY
        while True:
            try:
                for statement in _SET_UP:
                    self._database.execute(statement)
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    self._database.close()
                    raise
                time.sleep(0.01)
            else:
                return

    def is_in_place(self) -> bool:
        """Tell whether the file is still the one of its name: another may have put it aside."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def add(self, batches: Sequence[Sequence[Push]], *, limit: int) -> list[bool]:
        """Keep the batches that fit under `limit` rows, each whole or not at all; return which were kept."""
        with self._transaction():
            room = limit - self._count()
            before = room
            kept: list[bool] = []
            for batch in batches:
                rows = [(push.key, message) for push in batch for message in push.messages]
                kept.append(len(rows) <= room)
                if kept[-1]:
                    room -= len(rows)
                    self._database.executemany("INSERT INTO spool (key, message) VALUES (?, ?)", rows)
            self._add_to_tally(before - room)
        return kept

    def count(self) -> int:
        """Return how many rows there are."""
        with steady():
            return self._count()

    def oldest(self, *, after: int, most: int) -> list[Row]:
        """Return the oldest rows with an id above `after`."""
        query = "SELECT id, key, message FROM spool WHERE id > ? ORDER BY id LIMIT ?"
        with steady():
            return [Row(*found) for found in self._database.execute(query, (after, most))]

    def remove(self, rows: Sequence[Row]) -> None:
        """Forget rows."""
        with self._transaction():
            self._database.executemany("DELETE FROM spool WHERE id = ?", [(row.id,) for row in rows])
            self._add_to_tally(-len(rows))

    def checkpoint(self) -> None:
        """Move what was committed from the log into the database, as far as nobody is in the way."""
        with steady():
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the file."""
        with steady():
            self._database.close()

    def _count(self) -> int:
        found = self._database.execute("SELECT rows FROM tally").fetchone()
        return int(found[0]) if found else 0

    def _add_to_tally(self, rows: int) -> None:
        if not self._database.execute("UPDATE tally SET rows = rows + ?", (rows,)).rowcount:
            self._database.execute("INSERT INTO tally VALUES (?)", (rows,))

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with steady():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


@contextmanager
def turn(path: Path) -> Generator[bool]:
    """Tell whether this process alone may forward now; the system ends the turn of a process that dies.

    The lock is SQLite's own, on a file beside the spool: it works wherever the spool does.
    """
    with steady():
        lock = sqlite3.connect(f"{path}-turn", timeout=0, isolation_level=None)
        mine = _locked(lock)
    try:
        yield mine
    finally:
        with steady():
            lock.close()


def waiting(path: Path) -> int:
    """Return how many rows another's file holds, without changing it; sqlite3.Error where it cannot be read."""
    with steady(), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT coalesce(sum(rows), 0) FROM tally").fetchone()[0])


def is_corrupt(path: Path) -> bool:
    """Tell whether a file is no sound database; it is read from end to end."""
    with steady(), closing(sqlite3.connect(path, timeout=_BUSY)) as database:
        try:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return True


def move_aside(path: Path) -> Path:
    """Rename a file, with its log, out of the way of a new one; return where it is now."""
    aside = path.with_name(f"{path.name}.corrupt-{time.time():.0f}")
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def _locked(lock: sqlite3.Connection) -> bool:
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True
