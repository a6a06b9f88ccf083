"""The reporter against a real Redis: threads, forks, event loops, many events."""

import asyncio
import copy
import os
import pickle
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis

from otpreport import Receipt, Reporter, Verification
from otpreport.connection import Connector
from otpreport.link import Link
from otpreport.push import Push, Unavailable, packed
from tests.support.admin import admin
from tests.support.events import arrived, verification
from tests.support.wait import until
from worker.embedded import EmbeddedValkey

PATIENCE = 20.0
"""Seconds: where a budget is not what is tested, a stalled machine shall not fail the test."""


@pytest.fixture
def reporter(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> Iterator[Reporter]:
    """Return a patient reporter to an empty server."""
    with Reporter(shared_valkey.url, spool=False, timeout=PATIENCE) as made:
        yield made


def test_report(reporter: Reporter, valkey: redis.Redis) -> None:
    """A reported event is in the account's list, the first reported to be taken first."""
    assert [reporter.report(verification(number)) for number in range(3)] == [Receipt("queued")] * 3
    assert arrived(valkey) == ["0", "1", "2"]


class Odd(Verification):
    """An event of the app's own making."""

    def to_wire(self) -> dict[str, object]:
        """Fail."""
        raise RuntimeError("odd")


INVALID = {
    "a lone surrogate": verification().model_copy(update={"message_id": "\ud800"}),
    "a word for a flag": verification().model_copy(update={"verified": "no"}),
    "a flag that is none": verification().model_copy(update={"verified": 0}),
    "an account in capitals": verification().model_copy(update={"account": "Tencent"}),
    "another key": verification().model_copy(update={"account": "tencent.otps"}),
    "an empty text": verification().model_copy(update={"message_id": ""}),
    "a long text": verification().model_copy(update={"message_id": "5" * 257}),
    "no text": verification().model_copy(update={"account": 7}),
    "unhashable": verification().model_copy(update={"account": []}),
    "no time": verification().model_copy(update={"occurred_at": None}),
    "a naive time": verification().model_copy(update={"occurred_at": datetime(2026, 5, 1)}),  # noqa: DTZ001
    "nothing at all": Verification.model_construct(),
    "a subclass": Odd(**verification().model_dump()),
}


@pytest.mark.parametrize("event", INVALID.values(), ids=INVALID)
async def test_an_event_that_was_made_invalid(
    reporter: Reporter, valkey: redis.Redis, event: Verification
) -> None:
    """What nothing validated raises ValueError, before its write."""
    with pytest.raises(ValueError, match="not a valid event"):
        reporter.report(event)
    with pytest.raises(ValueError, match="not a valid event"):
        await reporter.areport(event)
    with pytest.raises(ValueError, match="not a valid event"):
        reporter.report_many([*(verification(number) for number in range(100)), event])
    assert arrived(valkey) == []


def test_report_many(reporter: Reporter, valkey: redis.Redis) -> None:
    """Many events of several accounts are in their lists, in order."""
    events = [verification(number, ("tencent", "alibaba")[number % 2]) for number in range(1001)]
    receipts = reporter.report_many(iter(events))
    assert (receipts.queued, receipts.spooled, receipts.dropped, receipts.reasons) == (1001, 0, 0, {})
    assert arrived(valkey) == [str(number) for number in range(0, 1001, 2)]
    assert arrived(valkey, "otpreport.alibaba") == [str(number) for number in range(1, 1001, 2)]


def test_report_none(reporter: Reporter) -> None:
    """No events are no fault."""
    assert reporter.report_many([]).queued == 0


def test_not_an_event(reporter: Reporter, valkey: redis.Redis) -> None:
    """Anything but a Verification raises TypeError, before anything is written."""
    with pytest.raises(TypeError, match="dict"):
        reporter.report({"account": "tencent"})  # type: ignore[arg-type]  # that is the test
    with pytest.raises(TypeError, match="NoneType"):
        reporter.report_many([verification(), None])  # type: ignore[list-item]  # that is the test
    assert admin(valkey).keys() == []


def test_key_prefix(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> None:
    """On a shared Redis the prefix stands before the queue's name."""
    with Reporter(shared_valkey.url, spool=False, timeout=PATIENCE, key_prefix="app:") as reporter:
        reporter.report(verification())
    assert arrived(valkey, "app:otpreport.tencent") == ["1"]


def test_database(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> None:
    """The database of the URL is the one written to."""
    url = shared_valkey.url.removesuffix("/0") + "/5"
    with Reporter(url, spool=False, timeout=PATIENCE) as reporter:
        reporter.report(verification())
    with redis.Redis(port=shared_valkey.port, db=5) as other:
        assert arrived(other) == ["1"]
    assert arrived(valkey) == []


WRONG_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("redis_url is None: give", {"redis_url": None}),
    ("redis_url must be a string, not bytes", {"redis_url": b"redis://127.0.0.1/0"}),
    ("redis_url cannot be read", {"redis_url": ""}),
    *(("timeout must be a number of seconds", {"timeout": given}) for given in (0.0, -1.0, float("nan"))),
    *(("timeout must be a number of seconds", {"timeout": given}) for given in (float("inf"), "0.05", None)),
    ("at most 30, not 50: 0.05 is 50 ms", {"timeout": 50}),
    ("key_prefix must be a string, not NoneType", {"key_prefix": None}),
    ("spool must be a file", {"spool": ""}),
    ("spool must be a file", {"spool": True}),
    ("spool_limit must be a positive number", {"spool_limit": 0}),
    ("accounts must be a list of names", {"accounts": "tencent"}),
    ("accounts must be a list of names", {"accounts": []}),
    ("accounts: 'Tencent' is no account's name", {"accounts": ["Tencent"]}),
]


@pytest.mark.parametrize(("said", "arguments"), WRONG_ARGUMENTS)
def test_a_wrong_argument(said: str, arguments: dict[str, Any]) -> None:
    """What an unset variable or another unit makes of an argument is told in one line, where the app starts."""
    given: dict[str, Any] = {"redis_url": "redis://127.0.0.1:1/0", "spool": False, **arguments}
    with pytest.raises(ValueError, match=rf"^[^\n]*{said}[^\n]*$"):
        Reporter(**given)


async def test_a_misspelt_account(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> None:
    """A reporter that knows its accounts refuses another, however it is reported, before anything is written."""
    wrong = verification(1, "tencnet")
    with Reporter(shared_valkey.url, spool=False, timeout=PATIENCE, accounts=["tencent"]) as reporter:
        with pytest.raises(ValueError, match="did you mean tencent"):
            reporter.report(wrong)
        with pytest.raises(ValueError, match="did you mean tencent"):
            await reporter.areport(wrong)
        with pytest.raises(ValueError, match="did you mean tencent"):
            reporter.report_many([verification(2), wrong])
        with pytest.raises(ValueError, match="none of this reporter's accounts"):
            reporter.report(INVALID["unhashable"])
        assert reporter.report(verification(3)).status == "queued"
    assert arrived(valkey) == ["3"]


def test_warm_up(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> None:
    """Its connection is open before the first event, in a forked child, too; it reports no Redis that is not there."""
    with Reporter(shared_valkey.url, spool=False) as reporter:
        assert reporter.warm_up(PATIENCE)
        assert len(admin(valkey).client_list()) > 1
        if (child := os.fork()) == 0:
            os._exit(0 if reporter.warm_up(PATIENCE) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert reporter.report(verification()).status == "queued"
    assert not reporter.warm_up(PATIENCE)
    with Reporter("redis://127.0.0.1:1/0", spool=False) as away:
        assert not away.warm_up(PATIENCE)


def test_secret_is_not_shown() -> None:
    """The password is in no repr."""
    reporter = Reporter("redis://web:hunter2@127.0.0.1:1/0", spool=False)
    assert "hunter2" not in repr(reporter)
    assert "127.0.0.1:1" in repr(reporter)


def test_wrong_password(valkey_server: EmbeddedValkey) -> None:
    """A refused password drops the event with a reason that does not quote it."""
    with admin(valkey_server.port) as server:
        server.config_set("requirepass", "right")
    url = f"redis://:hunter2@127.0.0.1:{valkey_server.port}/0"
    with Reporter(url, spool=False, timeout=PATIENCE) as reporter:
        receipt = reporter.report(verification())
    assert receipt.status == "dropped"
    assert receipt.reason
    assert "hunter2" not in receipt.reason


def test_user_who_may_only_push(valkey_server: EmbeddedValkey) -> None:
    """An ACL user needs LPUSH on the queues and nothing else."""
    with admin(valkey_server.port) as server:
        server.execute_command("ACL", "SETUSER", "web", "on", ">pw", "~otpreport.*", "+lpush")
        url = f"redis://web:pw@127.0.0.1:{valkey_server.port}/0"
        with Reporter(url, spool=False, timeout=PATIENCE, tracking=True) as reporter:
            assert reporter.report(verification()) == Receipt("queued")
            assert reporter.dropped == 0, "its notice is in a queue's name, too"
        assert arrived(server) == ["1"]
        assert server.llen("otpreport.tencent.otps") == 1


def test_full_redis(valkey_server: EmbeddedValkey) -> None:
    """A full Redis refuses, the receipt says so, and the reporter goes on when there is room."""
    with admin(valkey_server.port) as server:
        with Reporter(valkey_server.url, spool=False, timeout=PATIENCE) as reporter:
            server.config_set("maxmemory", "1")
            receipt = reporter.report(verification(1))
            assert receipt.status == "dropped"
            assert "OOM" in receipt.reason
            many = reporter.report_many([verification(2), verification(3)])
            assert [event.message_id for event in many.dropped_events] == ["2", "3"]
            assert sum(many.reasons.values()) == many.dropped == 2
            assert reporter.dropped == 3
            server.config_set("maxmemory", "0")
            assert reporter.report(verification(4)) == Receipt("queued")
        assert arrived(server) == ["4"]


def test_demoted_master(valkey_server: EmbeddedValkey) -> None:
    """A master that became a replica is left; when it is master again the reporter notices."""
    with admin(valkey_server.port) as server:
        with Reporter(valkey_server.url, spool=False, timeout=PATIENCE) as reporter:
            reporter.report(verification(1))
            server.execute_command("REPLICAOF", "127.0.0.1", "1")
            assert "READONLY" in reporter.report(verification(2)).reason
            server.execute_command("REPLICAOF", "NO", "ONE")
            until(lambda: reporter.report(verification(3)).status == "queued")
        assert arrived(server)[:2] == ["1", "3"]


class Confused(socketserver.BaseRequestHandler):
    """Answers as Redis does, but to a write, which it answers as a web server."""

    def handle(self) -> None:
        """Answer."""
        while received := self.request.recv(65536):
            commands = received.count(b"*")
            self.request.sendall(
                b"HTTP/1.1 400 Bad Request\r\n\r\n" if b"LPUSH" in received else b"+OK\r\n" * commands
            )


def test_answers_that_are_none() -> None:
    """What no Redis would answer is a fault of the connection: it drops with the reason and raises nothing."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Confused) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"redis://127.0.0.1:{server.server_address[1]}/0"
        with Reporter(url, spool=False, timeout=PATIENCE) as reporter:
            receipt = reporter.report(verification())
        server.shutdown()
    assert receipt.status == "dropped"
    assert "Protocol error" in receipt.reason


def test_restarted_redis(valkey_server: EmbeddedValkey) -> None:
    """After a restart of Redis the reporter is back by itself."""
    with Reporter(valkey_server.url, spool=False, timeout=PATIENCE) as reporter:
        assert reporter.report(verification(1)).status == "queued"
        valkey_server.kill()
        assert reporter.report(verification(2)).status == "dropped"
        valkey_server.start()
        until(lambda: reporter.report(verification(3)).status == "queued")


def test_connections_killed_while_idle(reporter: Reporter, valkey: redis.Redis) -> None:
    """A connection that the server closed while idle costs no event."""
    for number in range(5):
        assert reporter.report(verification(number)).status == "queued"
        admin(valkey).client_kill_filter(_type="normal", skipme=True)
    assert arrived(valkey) == ["0", "1", "2", "3", "4"]


def test_threads(reporter: Reporter, valkey: redis.Redis) -> None:
    """Many threads may share one reporter."""

    def work(worker: int) -> None:
        for number in range(50):
            assert reporter.report(verification(f"{worker}-{number}")).status == "queued"

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = arrived(valkey)
    assert len(set(ids)) == len(ids) == 1000
    for worker in range(20):
        own = [name for name in ids if name.startswith(f"{worker}-")]
        assert own == [f"{worker}-{number}" for number in range(50)]


def exit_of(child: int) -> int:
    """Return the exit status of a forked child."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_fork_in_c(valkey: redis.Redis, shared_valkey: EmbeddedValkey) -> None:
    """A child that no hook of Python's told of its fork reports over a connection of its own, too."""
    command = [sys.executable, "-m", "tests.support.c_forks", "reports", shared_valkey.url]
    subprocess.run(command, timeout=60, check=True)
    expected = [f"{who} {number}" for who in ("before", "child", "after") for number in range(20)]
    assert arrived(valkey) == expected


def test_fork(reporter: Reporter, valkey: redis.Redis) -> None:
    """A forked child reports over a connection of its own, the parent goes on with its own."""
    reporter.report(verification("before"))

    def child() -> NoReturn:
        statuses = [reporter.report(verification(f"child {number}")).status for number in range(20)]
        os._exit(0 if statuses == ["queued"] * 20 else 1)

    if not (pid := os.fork()):
        child()
    for number in range(20):
        assert reporter.report(verification(f"parent {number}")).status == "queued"
    assert exit_of(pid) == 0
    assert reporter.report(verification("after")).status == "queued"
    expected = {"before", "after"} | {
        f"{who} {number}" for who in ("parent", "child") for number in range(20)
    }
    assert sorted(arrived(valkey)) == sorted(expected)


class Surprised(Link):
    """A link that does not know of forks."""

    def after_fork(self) -> None:
        """Set up once, and never again."""
        if not hasattr(self, "_lock"):
            super().after_fork()


@pytest.mark.parametrize(("kind", "status"), [(Link, 0), (Surprised, 1)])
def test_fork_while_redis_is_away(tmp_path: Path, kind: type[Link], status: int) -> None:
    """A child looks for Redis itself; if it trusted its parent's thread (the control), it never found it."""
    server = EmbeddedValkey(tmp_path / "valkey")
    link = kind(Connector(server.url, timeout=PATIENCE))
    command = packed([Push("key", [b"message"])])
    with pytest.raises(Unavailable):
        link.push(command, 1, time.monotonic() + PATIENCE)
    if not (pid := os.fork()):
        with suppress(BaseException):
            until(lambda: pushed(link, command), deadline=5.0)
            os._exit(0)
        os._exit(1)
    with server, closing(link):
        assert exit_of(pid) == status


def pushed(link: Link, command: bytes) -> bool:
    """Tell whether Redis took a write."""
    with suppress(Unavailable):
        return link.push(command, 1, time.monotonic() + PATIENCE) == [""]
    return False


def test_fork_while_threads_report(reporter: Reporter, valkey: redis.Redis) -> None:
    """A fork in the middle of other threads' work leaves the child no lock that is held for ever."""
    stop = threading.Event()

    def work(worker: int) -> None:
        number = 0
        while not stop.is_set():
            reporter.report(verification(f"{worker}-{number}"))
            number += 1

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    children = 0
    for number in range(20):
        if not (pid := os.fork()):
            status = reporter.report(verification(f"child {number}")).status
            os._exit(0 if status == "queued" else 1)
        children += exit_of(pid) == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert children == 20
    ids = arrived(valkey)
    assert len(ids) == len(set(ids))
    assert {f"child {number}" for number in range(20)} <= set(ids)


async def test_areport(reporter: Reporter, valkey: redis.Redis) -> None:
    """Coroutines may report side by side."""
    receipts = await asyncio.gather(*(reporter.areport(verification(number)) for number in range(100)))
    assert receipts == [Receipt("queued")] * 100
    assert sorted(map(int, arrived(valkey))) == list(range(100))


def test_areport_without_asyncio(reporter: Reporter, valkey: redis.Redis) -> None:
    """Where another library runs the coroutines, as trio does, the event is reported all the same."""
    coroutine = reporter.areport(verification())
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == Receipt("queued")
    assert len(arrived(valkey)) == 1


async def longest_gap(during: asyncio.Task[object]) -> float:
    """Return the longest time the event loop did not come round, in seconds."""
    longest, last = 0.0, time.monotonic()
    while not during.done():
        await asyncio.sleep(0)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    return longest


async def test_areport_does_not_hold_the_loop(valkey_server: EmbeddedValkey) -> None:
    """While Redis is frozen the event loop goes on; a blocking report() in its place holds it."""
    timeout = 2.0
    with Reporter(valkey_server.url, spool=False, timeout=timeout) as reporter:
        reporter.report(verification(1))
        valkey_server.freeze()
        waiting: asyncio.Task[object] = asyncio.create_task(reporter.areport(verification(2)))
        assert await longest_gap(waiting) < timeout / 2

    async def blocking() -> Receipt:
        return reporter.report(verification(3))

    valkey_server.thaw()
    with Reporter(valkey_server.url, spool=False, timeout=timeout) as reporter:
        reporter.report(verification(1))
        valkey_server.freeze()
        assert await longest_gap(asyncio.create_task(blocking())) > timeout / 2


async def test_cancelled_caller(reporter: Reporter, valkey: redis.Redis) -> None:
    """A request whose client went away still reports its event."""
    reporter.report(verification("first"))
    caller = asyncio.create_task(reporter.areport(verification("second")))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await asyncio.to_thread(until, lambda: arrived(valkey) == ["first", "second"])


async def test_not_an_event_async(reporter: Reporter) -> None:
    """areport() refuses what report() refuses."""
    with pytest.raises(TypeError, match="Verification"):
        await reporter.areport("tencent")  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_copied(copied: Callable[[Reporter], object], reporter: Reporter) -> None:
    """A reporter given to another process, say as an argument of `multiprocessing`, is refused with what to do."""
    with pytest.raises(TypeError, match="make one in each"):
        copied(reporter)


def test_closed(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> None:
    """A closed reporter leaves no connection, and drops with the reason."""
    reporter = Reporter(shared_valkey.url, spool=False, timeout=PATIENCE)
    reporter.report(verification(1))
    assert len(admin(valkey).client_list()) == 2
    reporter.close()
    until(lambda: len(admin(valkey).client_list()) == 1)
    assert "closed" in reporter.report(verification(2)).reason


def test_forgotten_reporter(shared_valkey: EmbeddedValkey, valkey: redis.Redis, tmp_path: Path) -> None:
    """A reporter that nobody closed leaves neither connections nor threads behind."""
    before = set(threading.enumerate())
    reporter = Reporter(shared_valkey.url, spool=tmp_path / "spool", timeout=PATIENCE)
    reporter.report(verification())
    own = set(threading.enumerate()) - before
    assert own
    del reporter
    until(lambda: not any(thread.is_alive() for thread in own))
    until(lambda: len(admin(valkey).client_list()) == 1)


def test_the_log_says_where_events_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads that Redis takes no events also reads that they are kept, and where."""
    path = tmp_path / "spool.sqlite3"
    with caplog.at_level("WARNING", "otpreport"), Reporter("redis://127.0.0.1:1/0", spool=path) as reporter:
        reporter.report(verification())
        until(lambda: f"they wait in {path}" in caplog.text)
