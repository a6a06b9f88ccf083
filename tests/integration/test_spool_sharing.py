"""Many processes, one spool: none of them takes the file from under another."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import redis

from otpreport import Reporter
from otpreport.push import Push
from otpreport.store import Store, Turn
from tests.support.c_forks import child_says
from tests.support.events import arrived, verification
from tests.support.spool_apps import lost
from tests.support.wait import until
from worker.embedded import EmbeddedValkey, free_port

SHARED_LOCK = " 1073741826 "
"""The first byte that SQLite locks while it has a database open (https://www.sqlite.org/fileformat.html#the_lock_byte_page)."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the spool shall be."""
    return tmp_path / "spool.sqlite3"


def is_locked() -> bool:
    """Tell whether this process holds SQLite's lock of an open database."""
    locks = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    return any(f" {os.getpid()} " in line and SHARED_LOCK in line for line in locks)


def test_no_order_of_starts_and_ends_loses_events(tmp_path: Path) -> None:
    """Apps that start, report, fork, end and are killed while Redis is away keep what they said is spooled."""
    spooled, missing = lost(tmp_path, 40, "1")
    assert spooled > 100
    assert missing == set()


@pytest.mark.parametrize("how", ["unlocked", "inherited"])
def test_without_locks_they_lose_events(tmp_path: Path, how: str) -> None:
    """The control: a descriptor closed beside SQLite, or a file open over a fork, costs events or the whole file."""
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            if lost(folder, 40, str(seed), how)[1]:
                return
        except sqlite3.DatabaseError:
            return
    pytest.fail("nothing was lost")


def test_locked_from_the_second_start_on(path: Path) -> None:
    """Whoever finds a file has it locked, however many threads open it; in a forked child it is locked anew."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    for _ in range(3):
        with Reporter(url, spool=path, timeout=10.0) as reporter:
            assert reporter.report(verification()).status == "spooled"
            assert is_locked()
            assert child_says(lambda: reporter.report(verification()).status == "spooled" and is_locked())
            assert reporter.report(verification()).status == "spooled"
            assert is_locked()
    assert not list(path.parent.glob("*.beside-*"))


OPENED = """
import os, sys
from pathlib import Path

folder, opened = sys.argv[2], []
def hook(event, arguments):
    if event == "open" and str(arguments[0]).startswith(folder):
        opened.append(str(arguments[0]))
sys.addaudithook(hook)

from otpreport import Reporter, store
from tests.support.events import verification

path = Path(folder) / "state" / "spool.sqlite3"
if sys.argv[3:] == ["peek"]:
    path.parent.mkdir()
    path.open("wb").close()
with Reporter(sys.argv[1], spool=path, timeout=10.0) as reporter:
    assert reporter.report(verification()).status == "spooled"
    if not (pid := os.fork()):
        reporter.report(verification())
        os._exit(0)
    os.waitpid(pid, 0)
    assert reporter.report(verification()).status == "spooled"
with store.Turn(path) as mine:
    assert mine
store.waiting(path)
store.is_corrupt(path)
store.move_aside(path)
print(opened)
"""


@pytest.mark.parametrize(("how", "opened"), [([], 0), (["peek"], 1)])
def test_nobody_opens_the_file_but_sqlite(tmp_path: Path, how: Sequence[str], opened: int) -> None:
    """No code of ours has a descriptor of the spool, its turn or what lies beside them; the control has one."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    command = [sys.executable, "-c", OPENED, url, str(tmp_path), *how]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert found.count("spool.sqlite3") == opened, found


def test_a_fork_ends_the_turn(path: Path) -> None:
    """A child could neither keep its parent's turn nor see it end."""
    with Turn(path) as mine:
        assert mine
        assert child_says(lambda: bool(Turn(path)))
        assert not mine


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("before", [0o666, None])
def test_only_the_owner_may_read_any_file(path: Path, before: int | None) -> None:
    """The file, its log and its turn are the owner's alone, also those that an earlier program left open to all."""
    everything = [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm", "-turn")]
    if before is not None:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode = WAL")
        for file in everything:
            file.touch()
            file.chmod(before)
    old = os.umask(0)
    try:
        with closing(Store(path)) as store, Turn(path):
            store.add([Push("key", [b"message"])], limit=9)
            assert [mode(file) for file in everything] == [0o600] * 4
    finally:
        os.umask(old)


def test_a_link_to_a_file_of_another_program(path: Path) -> None:
    """A symbolic link does no harm to what it leads to: it is not written, its permissions stay."""
    other = path.with_name("accounting.sqlite3")
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE invoices (number INTEGER)")
    other.chmod(0o644)
    before = other.read_bytes()
    path.symlink_to(other)
    with Reporter(f"redis://127.0.0.1:{free_port()}/0", spool=path, timeout=10.0) as reporter:
        assert reporter.report(verification()).status == "spooled"
    assert other.read_bytes() == before
    assert mode(other) == 0o644


def test_what_waits_beside_is_forwarded(
    path: Path, valkey_server: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the file is another program's events wait beside it, and any process that shares it forwards them."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE spool (something TEXT)")
    with Reporter(f"redis://127.0.0.1:{free_port()}/0", spool=path, timeout=10.0) as reporter:
        assert reporter.report(verification("beside")).status == "spooled"
    assert "another program: using a file beside it" in caplog.text
    path.unlink()
    with (
        Reporter(valkey_server.url, spool=path, timeout=10.0) as reporter,
        redis.Redis(port=valkey_server.port) as client,
    ):
        reporter.report(verification("now"))
        until(lambda: set(arrived(client)) == {"beside", "now"})


def test_a_fork_in_c(tmp_path: Path) -> None:
    """A child of a fork in C has none of its parent's locks: it leaves the file alone, and its events arrive."""
    command = [sys.executable, "-m", "tests.support.c_forks", "spools", str(tmp_path / "spool.sqlite3")]
    subprocess.run(command, timeout=60, check=True)
