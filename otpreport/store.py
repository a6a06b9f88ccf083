"""The spool's file: events that wait for Redis, in SQLite."""

from __future__ import annotations

import logging
import sqlite3
import stat
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from otpreport.database import Database, NotOurs, keep_private
from otpreport.forks import steady
from otpreport.push import Push
from otpreport.wire import NOTICES

_log = logging.getLogger("otpreport")

_SET_UP = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    # A commit never waits for a checkpoint's fsync: the forwarder does those.
    "PRAGMA wal_autocheckpoint = 0",
    f"PRAGMA journal_size_limit = {8 << 20}",
    "PRAGMA temp_store = MEMORY",
    "CREATE TABLE IF NOT EXISTS spool (id INTEGER PRIMARY KEY, key TEXT NOT NULL, message BLOB NOT NULL)",
    # Counting the rows would read the whole file.
    "CREATE TABLE IF NOT EXISTS tally (rows INTEGER NOT NULL)",
)
_TABLES = {"spool": ["id", "key", "message"], "tally": ["rows"]}
_BUSY = 0.5
"""Seconds to wait for another process that writes, less than a fork waits; callers wait for their own deadline only."""
_FEW = 1000
"""Rows that are rewritten within milliseconds."""
_SPARE = 256
"""Free pages that may stay, 1 MB."""


@dataclass(frozen=True, slots=True)
class SpoolRow:
    """One message and the Redis list it is for."""

    id: int
    key: str
    message: bytes


class Store(Database):
    """The rows of one file.

    Commits reach the operating system, not the platter: they outlive a killed process, not a power cut.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; sqlite3.Error or OSError, NotOurs where it is another's."""
        super().__init__(path, patience=_BUSY)

    def _set_up(self, connection: sqlite3.Connection) -> None:
        """Make the tables; while another process does the same, SQLite refuses some steps without waiting."""
        end = time.monotonic() + _BUSY
        while True:
            try:
                if not _is_ours(connection):
                    raise NotOurs(f"{self.path} is a database of another program")
                keep_private(self.path)
                for statement in _SET_UP:
                    connection.execute(statement)
                keep_private(self.path)
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
            else:
                return

    def add(self, pushes: Sequence[Push], *, limit: int, spare: int = 0) -> list[bool]:
        """Keep the pushes that fit under `limit` rows, each whole or not at all; return which were kept.

        Notices leave `spare` rows free, for reports: those alone may not be lost.
        """
        with self._transaction() as connection:
            room = limit - _count(connection)
            before = room
            kept: list[bool] = []
            for push in pushes:
                rows = [(push.key, message) for message in push.messages]
                is_notice = push.key.endswith(NOTICES)
                kept.append(len(rows) <= room - spare * is_notice)
                if kept[-1]:
                    room -= len(rows)
                    connection.executemany("INSERT INTO spool (key, message) VALUES (?, ?)", rows)
            _add_to_tally(connection, before - room)
        return kept

    def is_empty(self) -> bool:
        """Return whether there are no rows."""
        with self._open() as connection:
            return not _span(connection)

    def count(self) -> int:
        """Return how many rows there are."""
        with self._open() as connection:
            return _count(connection)

    def oldest(self, *, after: int, most: int) -> list[SpoolRow]:
        """Return the oldest rows with an id above `after`."""
        query = "SELECT id, key, message FROM spool WHERE id > ? ORDER BY id LIMIT ?"
        with self._open() as connection:
            return [SpoolRow(*found) for found in connection.execute(query, (after, most))]

    def remove(self, rows: Sequence[SpoolRow]) -> None:
        """Forget rows, unless another has: then their ids may be those of new ones."""
        gone = [(row.id, row.message) for row in rows]
        with self._transaction() as connection:
            removed = connection.executemany("DELETE FROM spool WHERE id = ? AND message = ?", gone).rowcount
            _add_to_tally(connection, -removed)

    def recount(self) -> None:
        """Correct a tally that was changed from outside; only with the turn.

        Rows that are added or removed meanwhile are counted by their writers.
        """
        with self._open() as connection:
            connection.execute("BEGIN")
            try:
                tallies, span = _tallies(connection), _span(connection)
                rows = span if tallies == [span] else _rows(connection)
            finally:
                connection.execute("ROLLBACK")
        if tallies == [rows] or (not tallies and not rows):
            return
        with self._transaction() as connection:
            if len(tallies) == 1 and isinstance(tallies[0], int):
                _add_to_tally(connection, rows - tallies[0])
            else:
                connection.execute("DELETE FROM tally")
                _add_to_tally(connection, rows)

    def checkpoint(self) -> None:
        """Checkpoint the write-ahead log into the database, as far as readers and writers allow."""
        with self._open() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def shrink(self) -> None:
        """Return free pages to the disk, once so few rows are left that rewriting them delays no caller."""
        with self._open() as connection:
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            if free > _SPARE and (_span(connection) <= _FEW or _count(connection) <= _FEW):
                connection.execute("VACUUM")
        self.checkpoint()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # some faults, as a full disk, have rolled it back already
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Return whether a database is empty or has our tables."""
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    names = {name for (name,) in connection.execute(query)}
    columns = {
        table: [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
        for table in _TABLES.keys() & names
    }
    return not names or ("spool" in columns and all(columns[table] == _TABLES[table] for table in columns))


def _tallies(connection: sqlite3.Connection) -> list[object]:
    return [found[0] for found in connection.execute("SELECT rows FROM tally LIMIT 2")]


def _span(connection: sqlite3.Connection) -> int:
    """Return what the number of rows is at most: they have ids in a row but where a list was refused."""
    ends = "SELECT (SELECT max(id) FROM spool) - (SELECT min(id) FROM spool) + 1"
    return connection.execute(ends).fetchone()[0] or 0


def _count(connection: sqlite3.Connection) -> int:
    """Return how many rows there are by the tally, unless that is impossible."""
    tallies, span = _tallies(connection), _span(connection)
    match tallies:
        case [int(rows)] if 0 <= rows <= span:
            return rows
        case _:
            return span


def _rows(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM spool").fetchone()[0])


def _add_to_tally(connection: sqlite3.Connection, rows: int) -> None:
    if not connection.execute("UPDATE tally SET rows = rows + ?", (rows,)).rowcount:
        connection.execute("INSERT INTO tally VALUES (?)", (rows,))


class Turn(Database):
    """The turn to forward what a spool holds: true for one process at a time, until it dies or forks.

    It is SQLite's lock of a file beside the spool that stays empty: it works wherever the spool does.
    """

    def __init__(self, spool: Path) -> None:
        """Ask for the turn; sqlite3.Error or OSError where that is not possible."""
        super().__init__(Path(f"{spool}-turn"), patience=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __bool__(self) -> bool:
        """Return whether this process still has the turn."""
        return self._connection is not None and self._connection.in_transaction

    def _prepare(self) -> None:
        with suppress(FileNotFoundError):
            found = self.path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size:
                _log.warning("%s is not a lock of otpreport: it is now %s", self.path, move_aside(self.path))
        super()._prepare()

    def _set_up(self, connection: sqlite3.Connection) -> None:
        keep_private(self.path)
        try:
            connection.execute("PRAGMA journal_mode = MEMORY")  # a full disk is no reason to wait
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise


def waiting(path: Path) -> int:
    """Return how many rows another's file holds, without changing it; sqlite3.Error where it cannot be read."""
    with steady(), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return _count(database)


def is_damage(error: Exception) -> bool:
    """Return whether an error means a damaged file; a lock, a full disk or a failing disk does not."""
    return _primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _primary_code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_corrupt(path: Path) -> bool:
    """Return whether a file is not a sound database; reads the whole file."""
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
