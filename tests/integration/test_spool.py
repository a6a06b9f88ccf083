"""The spool: what Redis does not take waits on disk, is bounded, survives, and is forwarded in order."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import cast

import pytest
import redis
from hiredis import Reader

from otpreport import Receipt, Reporter, Verification
from otpreport.connection import Connection
from otpreport.link import Link
from otpreport.push import Push
from otpreport.spool import Spool, SpoolEntry
from otpreport.store import SpoolRow, Store, Turn, move_aside
from tests.support.admin import admin
from tests.support.events import arrived, event_of, verification
from tests.support.wait import until
from worker.embedded import EmbeddedValkey, free_port

PATIENCE = 10.0
"""Seconds: where the budget is not what is tested, a stalled disk shall not fail the test."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the spool shall be."""
    return tmp_path / "state" / "spool.sqlite3"


def waiting(path: Path) -> list[str]:
    """Return the message ids of a spool, the oldest first."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT message FROM spool ORDER BY id").fetchall()
    return [event_of(row[0]).message_id for row in rows]


def numbers(count: int, first: int = 0) -> list[str]:
    """Return message ids."""
    return [str(number) for number in range(first, first + count)]


def events(count: int, first: int = 0) -> list[Verification]:
    """Return events with these ids."""
    return [verification(name) for name in numbers(count, first)]


def test_forwarded_in_order(path: Path, away: EmbeddedValkey) -> None:
    """What was spooled while Redis was away is forwarded when it comes, the oldest first."""
    with Reporter(away.url, spool=path, timeout=PATIENCE) as reporter:
        receipts = [reporter.report(event) for event in events(5)]
        assert {receipt.status for receipt in receipts} == {"spooled"}
        assert all("refused" in receipt.reason for receipt in receipts)
        assert reporter.report_many(events(1000, first=5)).spooled == 1000
        assert waiting(path) == numbers(1005)
        away.start()
        with redis.Redis(port=away.port) as client:
            until(lambda: len(arrived(client)) == 1005)
            assert arrived(client) == numbers(1005)
        until(lambda: waiting(path) == [])
        until(lambda: reporter.report(verification("after")).status == "queued")


def test_a_relative_path_stays_where_the_app_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that changes its folder later, as daemons go to /, still spools into the file that was meant."""
    monkeypatch.chdir(tmp_path)
    with Reporter(f"redis://127.0.0.1:{free_port()}/0", spool="app.sqlite3", timeout=PATIENCE) as reporter:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        assert reporter.report(verification("kept")).status == "spooled"
    assert waiting(tmp_path / "app.sqlite3") == ["kept"]


def test_without_a_spool_they_are_lost(away: EmbeddedValkey) -> None:
    """The negative control: without a spool the same events never arrive."""
    with Reporter(away.url, spool=False, timeout=PATIENCE) as reporter:
        assert {reporter.report(event).status for event in events(5)} == {"dropped"}
        away.start()
        until(lambda: reporter.report(verification("after")).status == "queued")
        with redis.Redis(port=away.port) as client:
            assert arrived(client) == ["after"]


def test_frozen_redis(path: Path, valkey_server: EmbeddedValkey) -> None:
    """Events spooled while Redis is frozen arrive when it thaws, each at least once."""
    with Reporter(valkey_server.url, spool=path, timeout=1.0) as reporter:
        until(lambda: reporter.report(verification("warm")).status == "queued")
        valkey_server.freeze()
        assert {reporter.report(event).status for event in events(20)} == {"spooled"}
        valkey_server.thaw()
        with redis.Redis(port=valkey_server.port) as client:
            until(lambda: set(arrived(client)) >= set(numbers(20)))
        until(lambda: waiting(path) == [])


def test_full_redis(path: Path, valkey_server: EmbeddedValkey) -> None:
    """Events spooled while Redis is full arrive when there is room."""
    with (
        Reporter(valkey_server.url, spool=path, timeout=PATIENCE) as reporter,
        admin(valkey_server.port) as server,
    ):
        server.config_set("maxmemory", "1")
        receipt = reporter.report(verification(0))
        assert (receipt.status, "OOM" in receipt.reason) == ("spooled", True)
        server.config_set("maxmemory", "0")
        until(lambda: arrived(server) == ["0"])


def test_one_list_refused(path: Path, away: EmbeddedValkey) -> None:
    """A list that Redis refuses holds up no other list, and its events stay."""
    away.start()
    with admin(away.port) as server:
        server.set("otpreport.broken", "not a list")
    away.stop()
    with Reporter(away.url, spool=path, timeout=PATIENCE) as reporter:
        for number in range(300):
            reporter.report(verification(number, "broken"))
        reporter.report(verification("good"))
        away.start()
        with admin(away.port) as server:
            until(lambda: arrived(server) == ["good"])
            until(lambda: waiting(path) == numbers(300))
            server.delete("otpreport.broken")
            until(lambda: arrived(server, "otpreport.broken") == numbers(300), deadline=60)


def test_bounded(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full spool drops, counts, and warns once in a while, not once for each event."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    with Reporter(url, spool=path, timeout=PATIENCE, spool_limit=10) as reporter:
        receipts = [reporter.report(event) for event in events(30)]
        assert [receipt.status for receipt in receipts] == ["spooled"] * 10 + ["dropped"] * 20
        assert "full (10 events)" in receipts[-1].reason
        assert reporter.report_many(events(5)).dropped == 5
        assert reporter.dropped == 25
    assert waiting(path) == numbers(10)
    assert levels(caplog, "dropped") == [logging.WARNING]


def levels(caplog: pytest.LogCaptureFixture, words: str) -> list[int]:
    """Return the levels of the lines with these words."""
    return [record.levelno for record in caplog.records if words in record.getMessage()]


def test_made_by_many_at_once(path: Path) -> None:
    """Whoever opens the file first makes it, and all others wait for that."""
    ready = threading.Barrier(8)
    opened: list[bool] = []

    def work() -> None:
        ready.wait()
        with closing(Store(path)) as store:
            opened.extend(store.add([Push("key", [b"message"])], limit=8))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [True] * 8


def test_count_is_exact(path: Path) -> None:
    """Rows that stay behind while younger ones leave are counted for what they are, by every process."""
    with closing(Store(path)) as store, closing(Store(path)) as other:
        for number in range(4):
            store.add([Push("key", [b"%d" % number])], limit=4)
        assert other.add([Push("key", [b"4"])], limit=4) == [False]
        other.remove(other.oldest(after=1, most=3))
        assert store.count() == other.count() == 1
        assert store.add([Push("key", [b"5", b"6"]), Push("key", [b"7", b"8"])], limit=4) == [True, False]
        assert [row.message for row in other.oldest(after=0, most=9)] == [b"0", b"5", b"6"]


def test_room_again(path: Path, away: EmbeddedValkey) -> None:
    """A spool that was full and forwarded takes events again."""
    with Reporter(away.url, spool=path, timeout=PATIENCE, spool_limit=10) as reporter:
        for event in events(11):
            reporter.report(event)
        away.start()
        until(lambda: waiting(path) == [])
        away.kill()
        assert {reporter.report(event).status for event in events(10)} == {"spooled"}


KILLED = """
import os, signal, sys
from otpreport import Reporter
from tests.support.events import verification

reporter = Reporter(sys.argv[1], spool=sys.argv[2], timeout=10.0)
for number in range(50):
    print(reporter.report(verification(number)).status, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_survives_kill(path: Path, away: EmbeddedValkey) -> None:
    """What a killed web app had spooled is forwarded by the next one, before that has anything to report."""
    app = subprocess.run(
        [sys.executable, "-c", KILLED, away.url, path], capture_output=True, text=True, check=False
    )
    assert app.returncode == -signal.SIGKILL, app.stderr
    assert app.stdout.split() == ["spooled"] * 50
    away.start()
    with Reporter(away.url, spool=path), redis.Redis(port=away.port) as client:
        until(lambda: arrived(client) == numbers(50))


SHARING = """
import sys
from otpreport import Reporter
from tests.support.events import verification

with Reporter(sys.argv[1], spool=sys.argv[2], timeout=10.0) as reporter:
    for number in range(200):
        assert reporter.report(verification(f"{sys.argv[3]}-{number}")).status == "spooled"
    print("spooled", flush=True)
    sys.stdin.read()
"""


def test_shared_by_processes(path: Path, away: EmbeddedValkey) -> None:
    """Two processes may share a spool: everything arrives, and arrives once, for one at a time forwards."""
    command = [sys.executable, "-c", SHARING, away.url, str(path)]
    apps = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    try:
        for app in apps:
            assert app.stdout is not None
            assert app.stdout.readline() == "spooled\n"
        away.start()
        with redis.Redis(port=away.port) as client:
            until(lambda: len(arrived(client)) >= 400)
            until(lambda: waiting(path) == [])
            ids = arrived(client)
    finally:
        for app in apps:
            app.communicate("", timeout=20)
    assert sorted(ids) == sorted(f"{name}-{number}" for name in ("one", "two") for number in range(200))
    for name in ("one", "two"):
        assert [found for found in ids if found.startswith(name)] == [
            f"{name}-{number}" for number in range(200)
        ]


class Gate(Link):
    """A way to Redis that keeps what comes and answers once the gate is opened."""

    def __init__(self) -> None:
        super().__init__(no_connection)
        self.opened = threading.Event()
        self.came: list[bytes] = []

    def push(self, commands: bytes, count: int, deadline: float) -> list[str]:
        """Keep the messages and wait."""
        reader = Reader()
        reader.feed(commands)
        for _ in range(count):
            _, _, *messages = cast("list[bytes]", reader.gets())
            self.came += messages
        self.opened.wait(20)
        return [""] * count

    def wait_until_up(self, seconds: float) -> bool:
        """Be up."""
        return True


def no_connection() -> Connection:
    """Fail to connect."""
    raise ConnectionRefusedError


class Away(Gate):
    """A Redis that is away."""

    def wait_until_up(self, seconds: float) -> bool:
        """Wait a moment."""
        return self.opened.wait(0.05)


class Greedy(Spool):
    """A spool that always believes it is its turn."""

    def turn(self, path: Path) -> AbstractContextManager[bool]:
        """Say yes."""
        return nullcontext(True)


@pytest.mark.parametrize(("kind", "times"), [(Spool, 1), (Greedy, 2)])
def test_forwarded_by_one(path: Path, kind: type[Spool], times: int) -> None:
    """Of two that share a spool one forwards a row, not both; without turns (the control) both do."""
    with closing(Store(path)) as store:
        store.add([Push("key", [b"message"])], limit=1)
    gate = Gate()
    spools = [kind(path, gate, limit=10) for _ in range(2)]
    for spool in spools:
        spool.start()
    try:
        until(lambda: len(gate.came) >= times)
        if times == 1:
            with pytest.raises(AssertionError):  # nobody else comes while the first is at it
                until(lambda: len(gate.came) > 1, deadline=2.0)
    finally:
        gate.opened.set()
    with closing(Store(path)) as store:
        until(lambda: store.count() <= 0)
    for spool in spools:
        spool.close()
    assert gate.came == [b"message"] * times


TURN = """
import sys, time
from pathlib import Path
from otpreport.store import Turn

with Turn(Path(sys.argv[1])) as mine:
    print(bool(mine), flush=True)
    time.sleep(60)
"""


def test_turn(path: Path) -> None:
    """Only one process forwards at a time; the turn of one that is killed ends with it."""
    path.parent.mkdir()
    other = subprocess.Popen([sys.executable, "-c", TURN, str(path)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"True\n"
    with Turn(path) as mine:
        assert not mine
    other.kill()
    other.communicate()
    with Turn(path) as mine:
        assert mine


def test_fork(path: Path, away: EmbeddedValkey) -> None:
    """A forked child spools and forwards with threads of its own, and leaves the parent's database alone."""
    with Reporter(away.url, spool=path, timeout=PATIENCE) as reporter:
        assert reporter.report(verification("parent")).status == "spooled"
        if not (pid := os.fork()):
            status = reporter.report(verification("child")).status
            sys.stdout.flush()
            os._exit(0 if status == "spooled" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert reporter.report(verification("parent again")).status == "spooled"
        assert waiting(path) == ["parent", "child", "parent again"]
        away.start()
        with redis.Redis(port=away.port) as client:
            until(lambda: arrived(client) == ["parent", "child", "parent again"])


def test_forks_while_spooling(path: Path) -> None:
    """Forks in the middle of writes harm neither side: nothing confirmed is missing."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    stop = threading.Event()
    confirmed: list[str] = []

    def work() -> None:
        number = 0
        while not stop.is_set():
            if reporter.report(verification(f"parent {number}")).status == "spooled":
                confirmed.append(f"parent {number}")
            number += 1

    with Reporter(url, spool=path, timeout=PATIENCE) as reporter:
        thread = threading.Thread(target=work)
        thread.start()
        try:
            for number in range(15):
                if not (pid := os.fork()):
                    status = reporter.report(verification(f"child {number}")).status
                    os._exit(0 if status == "spooled" else 1)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        finally:
            stop.set()
            thread.join()
        assert set(waiting(path)) >= set(confirmed) | {f"child {number}" for number in range(15)}
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_unwritable(tmp_path: Path) -> None:
    """A spool that cannot be written drops, with both reasons, and raises nothing."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with Reporter(
        f"redis://127.0.0.1:{free_port()}/0", spool=blocked / "spool", timeout=PATIENCE
    ) as reporter:
        receipt = reporter.report(verification())
    assert receipt.status == "dropped"
    assert "refused" in receipt.reason
    assert "cannot be written" in receipt.reason


def test_unknowable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A path that the disk will not even look up is a fault of the spool, not one of the constructor's caller."""
    path = tmp_path / ("x" * 300)  # any OSError does: one of permissions root would not meet
    with Reporter(f"redis://127.0.0.1:{free_port()}/0", spool=path, timeout=PATIENCE) as reporter:
        receipt = reporter.report(verification())
    assert (receipt.status, "cannot be written" in receipt.reason) == ("dropped", True)
    assert levels(caplog, f"the otpreport spool {path} cannot be written") == [logging.WARNING]
    assert "give Reporter(spool=...) a file that this user can write" in caplog.text


def test_no_home(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A user without a home folder has no spool, and is told so once; Redis gets the events all the same."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")
    with Reporter(f"redis://127.0.0.1:{free_port()}/0", timeout=PATIENCE) as reporter:
        receipts = [reporter.report(verification()) for _ in range(2)]
    assert ["no spool" in receipt.reason for receipt in receipts] == [True, True]
    assert levels(caplog, "no spool for otpreport events") == [logging.WARNING]


class Starved(Spool):
    """A spool that the system gives its first thread, and the second only at the second try."""

    refusals = 0

    def _start_thread(self, target: Callable[[], None], name: str) -> threading.Thread:
        if name == "otpreport-forward" and not self.refusals:
            self.refusals += 1
            raise RuntimeError("can't start new thread")
        return super()._start_thread(target, name)


def test_a_thread_too_few(path: Path) -> None:
    """A spool with one of its threads keeps events; the other is started as soon as that works."""
    gate = Gate()
    gate.opened.set()
    spool = Starved(path, gate, limit=10)
    spool.start()
    assert spool.put([Push("key", [b"message"])], time.monotonic() + PATIENCE) == [""]
    assert spool.refusals == 1
    assert gate.came == []
    spool.start()
    until(lambda: gate.came == [b"message"])
    spool.close()


def corrupt_pages(path: Path) -> None:
    """Spoil what the head of a database leads to."""
    with closing(Store(path)) as store:
        store.add([Push("key", [b"x" * 1000] * 100)], limit=1000)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def no_database(path: Path) -> None:
    """Write something else."""
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 1000)


@pytest.mark.parametrize("spoil", [corrupt_pages, no_database])
def test_corrupt_file(
    path: Path, away: EmbeddedValkey, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A corrupt file is put aside as it is, in one line, and events wait in a new one."""
    spoil(path)
    spoilt = path.read_bytes()
    with Reporter(away.url, spool=path, timeout=PATIENCE) as reporter:
        until(lambda: reporter.report(verification("1")).status == "spooled")
        away.start()
        with redis.Redis(port=away.port) as client:
            until(lambda: arrived(client) == ["1"], deadline=60)
    (aside,) = path.parent.glob("*.corrupt-*[0-9]")
    assert aside.read_bytes()[4096:] == spoilt[4096:]
    assert levels(caplog, "was corrupt") == [logging.ERROR]


def test_a_file_that_another_put_aside(path: Path) -> None:
    """Who has the file open goes on with the new one."""
    with Reporter(f"redis://127.0.0.1:{free_port()}/0", spool=path, timeout=PATIENCE) as reporter:
        assert reporter.report(verification("1")).status == "spooled"
        move_aside(path)
        assert reporter.report(verification("2")).status == "spooled"
        assert waiting(path) == ["2"]


def test_a_sound_file_is_not_put_aside(path: Path) -> None:
    """A file of another program, or one that is locked, is left where it is."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE spool (something TEXT)")
    with Reporter(f"redis://127.0.0.1:{free_port()}/0", spool=path, timeout=PATIENCE) as reporter:
        assert reporter.report(verification("1")).status == "spooled"
    assert list(path.parent.glob("*.corrupt-*")) == []


class Rejecting(Gate):
    """A Redis that answers and takes nothing, as a master without its replicas does."""

    def push(self, commands: bytes, count: int, deadline: float) -> list[str]:
        """Refuse."""
        self.came += [b"a try"]
        return ["NOREPLICAS Not enough good replicas to write."] * count


def test_a_redis_that_takes_nothing_is_left_in_peace(path: Path) -> None:
    """The pauses grow where Redis refuses every write, and the log of the file is emptied meanwhile."""
    gate = Rejecting()
    spool = Spool(path, gate, limit=1000)
    spool.start()
    try:
        spool.put([Push("key", [b"x" * 1000] * 500)], time.monotonic() + PATIENCE)
        until(lambda: len(gate.came) >= 2)
        assert path.stat().st_size > 500_000  # the log was moved into it
        with pytest.raises(AssertionError):  # at 20 tries a second it would
            until(lambda: len(gate.came) > 6, deadline=3.0)
    finally:
        spool.close()


def test_the_forwarder_tells_a_fault_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A fault that stays is told once, not each time it is met."""
    path.parent.mkdir()
    path.mkdir()
    spool = Impatient(path, Gate(), limit=10)
    spool.start()
    until(lambda: levels(caplog, "cannot be forwarded"))
    with pytest.raises(AssertionError):
        until(lambda: len(levels(caplog, "cannot be forwarded")) > 1, deadline=0.5)
    spool.close()


class Impatient(Spool):
    """A spool that rests for moments only."""

    hangs = 0.5

    def _rest(self, pause: float) -> bool:
        return super()._rest(min(pause, 0.05))


class FullDisk(Store):
    """A file on a disk that has no room for what a removal writes."""

    full = True

    def remove(self, rows: Sequence[SpoolRow]) -> None:
        """Refuse, as SQLite does."""
        if FullDisk.full:
            raise sqlite3.OperationalError("database or disk is full")
        super().remove(rows)


class OnFullDisk(Impatient):
    """A spool on that disk."""

    def _opened(self, store: Store | None) -> Store:
        return store or FullDisk(self._path)


def test_full_disk(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the disk does not let go of is forwarded all the same, once, and told once; it goes when there is room."""
    gate = Gate()
    gate.opened.set()
    spool = OnFullDisk(path, gate, limit=1000)
    FullDisk.full = True
    with closing(Store(path)) as store:
        store.add([Push("key", [b"%d" % number for number in range(500)])], limit=1000)
        spool.start()
        try:
            until(lambda: len(gate.came) == 500)
            with pytest.raises(AssertionError):  # twenty rounds in a second
                until(lambda: len(gate.came) > 500, deadline=1.0)
            assert levels(caplog, "cannot be cleared") == [logging.WARNING]
            assert store.count() == 500
            FullDisk.full = False
            until(store.is_empty)
        finally:
            spool.close()
    assert len(gate.came) == 500


@pytest.mark.parametrize(
    "tally",
    [
        "UPDATE tally SET rows = 1000000",
        "UPDATE tally SET rows = -5",
        "UPDATE tally SET rows = 0",
        "UPDATE tally SET rows = 'many'",
        "DELETE FROM tally",
        "INSERT INTO tally VALUES (7)",
    ],
)
def test_wrong_tally(path: Path, tally: str) -> None:
    """A tally that was changed by hand neither fills the spool nor hides its rows, and is counted anew."""
    with closing(Store(path)) as store:
        store.add([Push("key", [b"1", b"2", b"3"])], limit=10)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(tally)
        spool = Impatient(path, Away(), limit=10)
        spool.start()
        try:
            assert spool.put([Push("key", [b"4"])], time.monotonic() + PATIENCE) == [""]
            until(lambda: database.execute("SELECT rows FROM tally").fetchall() == [(4,)])
        finally:
            spool.close()


def test_a_tally_with_gaps_is_counted(path: Path) -> None:
    """Where rows went from the middle the rows themselves are counted, not what their ids span."""
    with closing(Store(path)) as store:
        store.add([Push("key", [b"%d" % number for number in range(9)])], limit=10)
        store.remove(store.oldest(after=2, most=5))
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("UPDATE tally SET rows = 8")
        assert store.count() == 8
        store.recount()
        assert store.count() == 4


def test_a_row_that_has_the_id_of_one_that_went(path: Path) -> None:
    """Whoever removes what another has removed already takes no younger row, which may have the same id."""
    with closing(Store(path)) as store, closing(Store(path)) as other:
        store.add([Push("key", [b"old"])], limit=10)
        rows = store.oldest(after=0, most=1)
        other.remove(rows)
        other.add([Push("key", [b"young"])], limit=10)
        store.remove(rows)
        assert [row.message for row in store.oldest(after=0, most=9)] == [b"young"]
        assert store.count() == 1


def test_the_file_shrinks(path: Path) -> None:
    """After an outage the disk has its room back, while the spool takes events."""
    with closing(Store(path)) as store:
        store.add([Push("key", [b"%d" % number + b"x" * 1000 for number in range(5000)])], limit=10_000)
        store.checkpoint()
        assert path.stat().st_size > 5_000_000
    gate = Gate()
    gate.opened.set()
    spool = Impatient(path, gate, limit=10_000)
    spool.start()
    try:
        until(lambda: path.stat().st_size < 500_000)
        assert spool.put([Push("key", [b"more"])], time.monotonic() + PATIENCE) == [""]
    finally:
        spool.close()


def test_a_file_with_many_rows_is_not_written_anew(path: Path) -> None:
    """To write what is left anew would hold the writers for as long as it takes."""
    with closing(Store(path)) as store:
        store.add([Push("key", [b"%d" % number + b"x" * 1000 for number in range(5000)])], limit=10_000)
        store.remove(store.oldest(after=0, most=3000))
        store.shrink()
        assert path.stat().st_size > 5_000_000
        store.remove(store.oldest(after=0, most=1500))
        store.shrink()
        assert path.stat().st_size < 1_000_000
        assert store.count() == len(store.oldest(after=0, most=9999)) == 500


def garbage(path: Path) -> None:
    """Write something else."""
    path.write_bytes(b"no lock at all" * 1000)


def foreign(path: Path) -> None:
    """Make a database of another program."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE turns (number INTEGER)")


@pytest.mark.parametrize("spoil", [garbage, foreign, Path.mkdir])
def test_a_turn_that_is_no_lock_of_ours(path: Path, spoil: Callable[[Path], None]) -> None:
    """Whatever lies where the lock should be is put aside, as it is."""
    path.parent.mkdir()
    lock = Path(f"{path}-turn")
    spoil(lock)
    before = None if lock.is_dir() else lock.read_bytes()
    with Turn(path) as mine, Turn(path) as another:
        assert mine
        assert not another
    (aside,) = path.parent.glob("*-turn.corrupt-*")
    assert aside.is_dir() if before is None else aside.read_bytes() == before


def test_without_a_lock_everybody_forwards(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no lock can be had events are forwarded, rather twice than never; only a lock that is held says no."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    spool = Spool(tmp_path / "spool", Gate(), limit=10)
    with spool.turn(blocked / "spool") as mine:
        assert mine
    assert levels(caplog, "without a lock") == [logging.WARNING]
    with spool.turn(tmp_path / "spool") as mine, spool.turn(tmp_path / "spool") as another:
        assert mine
        assert not another


class Unwritable(Turn):
    """A turn on a disk that takes no lock."""

    def _set_up(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = ON")
        super()._set_up(connection)


def test_a_fault_of_the_disk_is_no_turn_of_another(path: Path) -> None:
    """What SQLite can't do is raised; it does not look as if another process forwarded."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        Unwritable(path)


@pytest.mark.parametrize(("kind", "times"), [(Impatient, 1), (Spool, 0)])
def test_a_turn_that_hangs_is_passed_over(path: Path, kind: type[Spool], times: int) -> None:
    """A process that has the turn and forwards nothing, frozen or no forwarder at all, holds it for a while only."""
    gate = Gate()
    gate.opened.set()
    spool = kind(path, gate, limit=10)
    with Turn(path) as held:
        assert held
        spool.start()
        assert spool.put([Push("key", [b"message"])], time.monotonic() + PATIENCE) == [""]
        if times:
            until(lambda: gate.came)
        else:
            with pytest.raises(AssertionError):
                until(lambda: gate.came, deadline=2.0)
    spool.close()
    assert len(gate.came) == times


class Replaced(Store):
    """A file that another puts aside right after it was written."""

    def add(self, pushes: Sequence[Push], *, limit: int, spare: int = 0) -> list[bool]:
        """Write, and put the file aside."""
        kept = super().add(pushes, limit=limit, spare=spare)
        move_aside(self.path)
        return kept


class OnReplaced(Spool):
    """A spool whose first file is put aside."""

    def _opened(self, store: Store | None) -> Store:
        return Replaced(self._path) if store is None else super()._opened(store)


def test_what_is_written_to_a_file_put_aside_is_written_again(path: Path) -> None:
    """An event that went into a file just before its renaming, where nobody forwards it, stands in the new one too."""
    spool = OnReplaced(path, Rejecting(), limit=10)
    spool.start()
    try:
        assert spool.put([Push("key", [b"message"])], time.monotonic() + PATIENCE) == [""]
        with closing(Store(path)) as store:
            assert [row.message for row in store.oldest(after=0, most=9)] == [b"message"]
    finally:
        spool.close()


class Watched(Spool):
    """A spool that tells when its writer has taken entries to write."""

    def __init__(self, path: Path, link: Link, *, limit: int) -> None:
        super().__init__(path, link, limit=limit)
        self.taken = threading.Event()

    def _next_entries(self) -> list[SpoolEntry] | None:
        entries = super()._next_entries()
        self.taken.set()
        return entries


def test_what_came_too_late_is_withdrawn(path: Path) -> None:
    """An event whose caller was told that it is not spooled is not written when the file is free again."""
    spool = Watched(path, Away(), limit=10)
    spool.start()
    first = threading.Thread(target=spool.put, args=([Push("key", [b"first"])], time.monotonic() + PATIENCE))
    try:
        until(lambda: spool.put([Push("key", [b"opened"])], time.monotonic() + PATIENCE) == [""])
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            spool.taken.clear()
            first.start()
            assert spool.taken.wait(PATIENCE)  # the writer waits for the file
            reason = spool.put([Push("key", [b"late"])], time.monotonic())
            database.execute("ROLLBACK")
        first.join()
        assert reason == ["the spool did not answer in time"]
        assert spool.put([Push("key", [b"next"])], time.monotonic() + PATIENCE) == [""]
        with closing(Store(path)) as store:
            assert b"late" not in [row.message for row in store.oldest(after=0, most=9)]
    finally:
        spool.close()


class Asked(Spool):
    """A spool that notes who asks for the turn."""

    by: tuple[str, ...] = ()

    def turn(self, path: Path) -> AbstractContextManager[Turn | bool]:
        """Note the thread."""
        self.by += (threading.current_thread().name,)
        return super().turn(path)


def test_a_locked_file_is_not_read_from_end_to_end(path: Path) -> None:
    """Only damage makes the writer look whether the file is sound, which takes long; a lock does not."""
    spool = Asked(path, Away(), limit=10)
    spool.start()
    try:
        assert spool.put([Push("key", [b"opened"])], time.monotonic() + PATIENCE) == [""]
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            reason = spool.put([Push("key", [b"message"])], time.monotonic() + PATIENCE)
        assert "database is locked" in reason[0]
        assert spool.put([Push("key", [b"message"])], time.monotonic() + PATIENCE) == [""]
    finally:
        spool.close()
    assert "otpreport-spool" not in spool.by


def test_locked_by_another(path: Path) -> None:
    """A database that somebody else holds locked costs the budget and no more, and only as long."""
    timeout = 0.1
    with Reporter(f"redis://127.0.0.1:{free_port()}/0", spool=path, timeout=timeout) as reporter:
        until(lambda: reporter.report(verification("before")).status == "spooled")
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            start = time.monotonic()
            receipt = reporter.report(verification("meanwhile"))
            assert time.monotonic() - start < 5 * timeout
            assert receipt.status == "dropped"
            assert "not answer in time" in receipt.reason
        until(lambda: reporter.report(verification("after")).status == "spooled")


def test_stays_empty(path: Path, shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> None:
    """While Redis takes everything nothing is written to the spool."""
    with Reporter(shared_valkey.url, spool=path, timeout=PATIENCE) as reporter:
        assert [reporter.report(event) for event in events(100)] == [Receipt("queued")] * 100
        until(path.exists)
    assert arrived(valkey) == numbers(100)
    assert waiting(path) == []


def test_only_the_owner_may_read(path: Path) -> None:
    """The file holds message ids: other users may not read it."""
    with closing(Store(path)) as store:
        store.add([Push("key", [b"message"])], limit=10)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


ONCE = """
import sys
from otpreport import Reporter
from tests.support.events import verification
reporter = Reporter(sys.argv[1], spool=sys.argv[2], timeout=5)
print(reporter.report(verification("last")).status)
"""


@pytest.mark.parametrize("end", ["", "reporter.close()"], ids=["end", "close"])
def test_a_program_that_reports_once_forwards_what_an_earlier_one_spooled(
    path: Path, away: EmbeddedValkey, end: str
) -> None:
    """It may be the only program that there is: a cron job, or a command of a framework."""
    with Reporter(away.url, spool=path, timeout=PATIENCE) as reporter:
        assert reporter.report_many(events(450)).spooled == 450
    away.start()
    command = [sys.executable, "-c", ONCE + end, away.url, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == "queued\n"
    assert waiting(path) == []
    with redis.Redis(port=away.port) as client:
        assert len(arrived(client)) == 451


def test_the_first_report_of_a_short_program_is_sent_although_connecting_took_long(
    path: Path, valkey_server: EmbeddedValkey
) -> None:
    """On a busy machine 50 ms are not enough for a first connection: the event is spooled, and closing forwards it."""
    valkey_server.freeze()
    reporter = Reporter(valkey_server.url, spool=path, timeout=0.5)
    assert reporter.report(verification("first")).status == "spooled"
    thaw = threading.Timer(0.1, valkey_server.thaw)
    thaw.start()
    reporter.close()
    thaw.join()
    assert waiting(path) == []
    with redis.Redis(port=valkey_server.port) as client:
        assert arrived(client) == ["first"]


def test_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default the file is in the user's state folder, one for each Redis, and names no password."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    port = free_port()
    for database in (0, 1):
        with Reporter(f"redis://:hunter2@127.0.0.1:{port}/{database}", timeout=PATIENCE) as reporter:
            assert reporter.report(verification(database)).status == "spooled"
    found = sorted((tmp_path / "otpreport").glob("*.sqlite3"))
    assert [waiting(path) for path in found] == [["0"], ["1"]]
    assert not any("hunter2" in path.name for path in found)


def test_another_address_left_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, away: EmbeddedValkey
) -> None:
    """Events that wait for an address that was changed are told of, with a way to forward them that works."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    old = f"redis://127.0.0.1:{free_port()}/0"
    with Reporter(old, timeout=PATIENCE) as reporter:
        assert reporter.report(verification("old")).status == "spooled"
    (file,) = (tmp_path / "otpreport").glob("*.sqlite3")
    assert levels(caplog, "of another Redis address") == []
    with Reporter(away.url, timeout=PATIENCE) as reporter:
        assert reporter.report(verification("new")).status == "spooled"
        until(
            lambda: levels(
                caplog, f"the otpreport spool {file} of another Redis address holds unsent events (1)"
            )
        )
    away.start()
    with Reporter(away.url, spool=file, timeout=PATIENCE), redis.Redis(port=away.port) as client:
        until(lambda: "old" in arrived(client))
    assert len(levels(caplog, f"spool={str(file)!r}")) == 1
