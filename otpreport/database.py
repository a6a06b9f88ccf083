"""One SQLite connection to a file that processes share: never beside another way to the file, never over a fork.

POSIX ties a lock to the process and drops it when the process closes any descriptor of the file, and a forked child has
none of its parent's. A process without its locks is one that others do not see: the next of them to end takes the log
away from under it (https://www.sqlite.org/howtocorrupt.html, 2.2 and 2.6).
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from otpreport.errors import OtpreportError
from otpreport.forks import let_go, on_fork, steady

OWNER_ALONE = 0o600

_inherited: dict[tuple[int, int], sqlite3.Connection] = {}
"""Files that were open at a fork in C, and the parent's connections: SQLite believes to this process' end that it holds
their locks. They are neither used nor closed."""


class NotOurs(OtpreportError, OSError):  # noqa: N818 - it says what the file is
    """A file that must not be used: another user's, or one that SQLite can no longer lock in this process."""


class Database:
    """A connection that is closed before a fork, and opened again by the next use."""

    def __init__(self, path: Path, *, patience: float) -> None:
        """Open or create the file, readable by its owner alone; sqlite3.Error or OSError."""
        self.path = path
        self._patience = patience
        self._inode = 0
        self._connection: sqlite3.Connection | None = None
        on_fork(self)
        with self._open():
            pass

    def is_in_place(self) -> bool:
        """Return whether the path still names this file: another process may have moved it aside."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        """Close the connection."""
        with steady():
            self.before_fork()

    def before_fork(self) -> None:
        """Close the connection; the child could neither use it nor open the file beside it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def after_fork(self) -> None:
        """Give up what a fork in C let the child inherit."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                _inherited[_identity(self.path)] = connection

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        """Yield the connection, and block forks meanwhile."""
        with steady():
            if self._connection is None:
                self._connection = self._connect()
                let_go(self)
            yield self._connection

    def _connect(self) -> sqlite3.Connection:
        self._prepare()
        before = _identity(self.path)
        connection = sqlite3.connect(
            self.path, timeout=self._patience, isolation_level=None, check_same_thread=False
        )
        try:
            self._set_up(connection)
            if _identity(self.path) != before:
                raise OSError(f"{self.path} was replaced while it was opened")
        except BaseException:
            connection.close()
            raise
        self._inode = before[1]
        return connection

    def _prepare(self) -> None:
        """Make the file where there is none, without a descriptor of it: closing that would drop SQLite's locks."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.path.is_symlink() and self.path.lstat().st_uid not in (0, os.geteuid()):
            raise NotOurs(f"{self.path} is a symbolic link of another user")
        with suppress(FileExistsError):
            _make(self.path.resolve())
        if _identity(self.path) in _inherited:
            raise NotOurs(f"{self.path} was open when this process was forked in C")

    def _set_up(self, connection: sqlite3.Connection) -> None:
        """Make the connection ready for use."""


def keep_private(path: Path) -> None:
    """Take a database and what SQLite keeps beside it from all but their owner; by name, without descriptors."""
    for suffix in ("", "-wal", "-shm"):
        file = Path(f"{path.resolve()}{suffix}")
        with suppress(FileNotFoundError, PermissionError):
            mode = file.lstat().st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                file.chmod(OWNER_ALONE)


def _make(path: Path) -> None:
    """Make an empty file that its owner alone may read; FileExistsError where there is one."""
    try:
        os.mknod(path, OWNER_ALONE)
    except PermissionError:  # macOS makes devices with it and nothing else
        descriptor, new = tempfile.mkstemp(dir=path.parent)
        os.close(descriptor)
        try:
            os.link(new, path)
        finally:
            Path(new).unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
