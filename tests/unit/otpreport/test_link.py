"""The link: who waits, for how long, and who does not."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial

import pytest

from otpreport.connection import Connection, Place
from otpreport.link import Link
from otpreport.push import Push, Unavailable, packed
from tests.support.wait import until

TIMEOUT = 0.05
COMMAND = packed([Push("key", [b"message"])])


class FakeConnection(Connection):
    """A connection to nothing, which answers as told."""

    def __init__(self, answer: Callable[[], list[str]] = lambda: [""], place: Place = ("", 0)) -> None:
        self.answer = answer
        self.place = place
        self.quiet = True
        self.closed = False
        self.used_at = time.monotonic()

    def is_quiet(self) -> bool:
        """Answer as told."""
        return self.quiet

    def push(self, commands: bytes, count: int, deadline: float) -> list[str]:
        """Answer as told."""
        return self.answer()

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class Redis:
    """What a link connects to: hands out connections, or fails, or hangs."""

    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []
        self.answer: Callable[[], list[str]] = lambda: [""]
        self.refuses = False
        self.attempts = 0
        self.asked = 0
        self.reachable = threading.Event()
        self.reachable.set()
        self.master: Place | Unavailable = ("one", 6379)

    def find_master(self) -> Place:
        """Answer as a sentinel does."""
        self.asked += 1
        if isinstance(self.master, Unavailable):
            raise self.master
        return self.master

    def connect(self) -> Connection:
        """Connect as told."""
        self.attempts += 1
        self.reachable.wait(20)
        if self.refuses:
            raise ConnectionRefusedError("refused")
        self.connections.append(FakeConnection(self.answer, self.find_master()))
        return self.connections[-1]


@pytest.fixture
def server() -> Iterator[Redis]:
    """Return a fake Redis, let go at the end."""
    made = Redis()
    yield made
    made.reachable.set()


@pytest.fixture
def link(server: Redis) -> Iterator[Link]:
    """Return a link to the fake."""
    made = Link(server.connect, limit=3)
    yield made
    made.close()


def push(link: Link, timeout: float = 20.0) -> list[str]:
    """Push one message."""
    return link.push(COMMAND, 1, time.monotonic() + timeout)


def time_of_failure(link: Link, timeout: float = TIMEOUT) -> float:
    """Return the seconds a push took that fails."""
    start = time.monotonic()
    with pytest.raises(Unavailable):
        push(link, timeout)
    return time.monotonic() - start


def answer_timeout() -> list[str]:
    """Fail as a frozen Redis does."""
    raise TimeoutError("timed out")


def test_first_push_waits_for_the_connection(link: Link, server: Redis) -> None:
    """A fresh link's first caller waits for the background thread; the next ones use the same connection."""
    assert push(link) == push(link) == [""]
    assert len(server.connections) == 1


@pytest.mark.parametrize("asks", [True, False])
def test_a_master_that_was_replaced_is_left(server: Redis, *, asks: bool) -> None:
    """It lives on, and takes what will be lost; who never asks the sentinels stays."""
    with closing(Link(server.connect, find_master=server.find_master if asks else None)) as link:
        push(link)
        server.master = Unavailable("no sentinel answers")
        asked = server.asked
        until(lambda: not asks or server.asked > asked + 1)
        push(link)
        assert len(server.connections) == 1, "without an answer the master is the one that was"
        server.master = ("other", 6379)
        if asks:
            until(lambda: push(link) and len(server.connections) == 2)
        push(link)
        assert [one.place[0] for one in server.connections] == (["one", "other"] if asks else ["one"])
        assert server.connections[0].closed == asks


def test_connecting_that_hangs(link: Link, server: Redis) -> None:
    """A name look-up that hangs costs the first caller its budget, the next ones nothing."""
    server.reachable.clear()
    assert TIMEOUT * 0.9 <= time_of_failure(link) <= TIMEOUT * 5
    start = time.monotonic()
    for _ in range(20):
        time_of_failure(link)
    assert time.monotonic() - start < TIMEOUT * 10
    server.reachable.set()
    until(lambda: link.wait_until_up(0.1))
    assert push(link) == [""]


def test_refused(link: Link, server: Redis) -> None:
    """While Redis refuses, callers learn why at once; when it is back they are served."""
    server.refuses = True
    with pytest.raises(Unavailable, match="refused"):
        push(link)
    server.refuses = False
    until(lambda: link.wait_until_up(0.1))
    assert push(link) == [""]


def test_timed_out_push_breaks_the_link(link: Link, server: Redis) -> None:
    """After a write without an answer nobody waits again before a new connection was seen to answer."""
    server.answer = answer_timeout
    with pytest.raises(Unavailable, match="may have arrived"):
        push(link)
    assert server.connections[0].closed
    server.answer = lambda: [""]
    until(lambda: link.wait_until_up(0.1))
    assert push(link) == [""]
    assert len(server.connections) == 2


def answer_reset() -> list[str]:
    """Fail as over a connection that a balancer answers with a reset."""
    raise ConnectionResetError("reset by peer")


@pytest.mark.parametrize("forgotten", [answer_timeout, answer_reset])
def test_idle_connection_that_a_balancer_forgot(
    link: Link, server: Redis, forgotten: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """The first write after a quiet spell arrives over a new connection, and nothing is logged."""
    push(link)
    server.connections[0].used_at -= 60.0
    server.connections[0].answer = forgotten
    assert push(link) == [""]
    assert [connection.closed for connection in server.connections] == [True, False]
    assert not caplog.records


def test_a_connection_that_is_being_opened_is_waited_for(link: Link, server: Redis) -> None:
    """A caller had no time for it; whoever has some gets it, and nobody waits where the last attempt failed."""
    assert not link.opens(20.0), "nothing is being opened"
    server.reachable.clear()
    with pytest.raises(Unavailable, match="no connection to Redis in time"):
        push(link, TIMEOUT)
    threading.Timer(0.1, server.reachable.set).start()
    assert link.opens(20.0)
    server.refuses = True
    server.connections[0].answer = answer_timeout
    with pytest.raises(Unavailable):
        push(link)
    until(lambda: server.attempts > 1)
    began = time.monotonic()
    assert not link.opens(20.0)
    assert time.monotonic() - began < 10.0


def test_idle_connection_and_redis_away(link: Link, server: Redis) -> None:
    """The second write has no time of its own, and the receipt says that the first may have arrived."""
    push(link)
    server.connections[0].used_at -= 60.0
    server.connections[0].answer = answer_timeout
    server.refuses = True
    with pytest.raises(Unavailable, match="refused; an earlier write may have arrived"):
        push(link)
    assert time_of_failure(link) < TIMEOUT


def test_busy_connection_is_not_tried_again(link: Link, server: Redis) -> None:
    """Without a quiet spell a write without an answer breaks the link, as Redis itself is the likely cause."""
    push(link)
    server.connections[0].answer = answer_timeout
    with pytest.raises(Unavailable, match="may have arrived"):
        push(link)


def test_connection_closed_while_idle(link: Link, server: Redis) -> None:
    """A connection that Redis closed while it was idle is replaced, the caller does not notice."""
    push(link)
    server.connections[0].quiet = False
    assert push(link) == [""]
    assert server.connections[0].closed


@pytest.mark.parametrize(
    ("refusal", "stays"), [("OOM command not allowed", True), ("READONLY You can't", False)]
)
def test_refusals(link: Link, server: Redis, refusal: str, stays: bool) -> None:
    """A full Redis keeps its connection, one that was demoted is left."""
    server.answer = lambda: [refusal]
    assert push(link) == [refusal]
    assert server.connections[0].closed is not stays


def test_why_a_connection_took_too_long(link: Link, server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A caller in a hurry does not know it yet; the log and those after it do."""
    server.reachable.clear()
    server.refuses = True
    time_of_failure(link)
    server.reachable.set()
    until(lambda: said(caplog, "refused") == ["Redis does not accept otpreport events: refused"])
    with pytest.raises(Unavailable, match="refused"):
        push(link)
    assert not said(caplog, "in time")


@pytest.mark.parametrize(
    ("refusal", "fix"),
    [
        ("NOREPLICAS Not enough good replicas to write.", ""),
        ("READONLY You can't", ""),
        ("NOAUTH Authentication required.", ": check redis_url"),
    ],
)
def test_refused_again_and_again(
    link: Link, server: Redis, refusal: str, fix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that answers but takes no write is asked less and less often, and told of once until it does."""
    caplog.set_level("INFO", "otpreport")
    server.answer = lambda: [refusal]
    with pytest.raises(AssertionError):  # a reconnection at every push would be some hundred of them
        until(lambda: refused_or_away(link) and server.attempts > 9, deadline=1.5)
    assert said(caplog, refusal) == [f"Redis does not accept otpreport events: {refusal}{fix}"]
    server.answer = lambda: [""]
    until(lambda: link.wait_until_up(0.1) and push(link) == [""])
    until(lambda: said(caplog, refusal)[-1] == "Redis accepts otpreport events again")
    assert len(said(caplog, refusal)) == 2


@pytest.mark.parametrize(("pause", "lines"), [(1000.0, 1), (0.0, 3)])
def test_a_redis_that_comes_and_goes(
    link: Link, server: Redis, pause: float, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told of once in a pause, not each time; after the pause again."""
    caplog.set_level("INFO", "otpreport")
    link.log_pause = pause
    for number in range(3):
        refusal = f"NOREPLICAS {number}"
        tell(server, refusal)
        until(partial(refused, link, caplog, "" if number and pause else refusal))
        tell(server, "")
        until(lambda: link.wait_until_up(0.1) and push(link) == [""])
        until(lambda: said(caplog, "NOREPLICAS")[-1].endswith("again"))
    assert [line.split()[1:4] for line in said(caplog, "NOREPLICAS")] == [
        ["does", "not", "accept"],
        ["accepts", "otpreport", "events"],
    ] * lines


def tell(server: Redis, answer: str) -> None:
    """Have all its connections answer that, old and new ones."""
    server.answer = lambda: [answer]
    for connection in server.connections:
        connection.answer = server.answer


def refused(link: Link, caplog: pytest.LogCaptureFixture, logged: str) -> bool:
    """Push what is not taken, and return whether the log has that word."""
    return refused_or_away(link) and logged in caplog.text


def said(caplog: pytest.LogCaptureFixture, refusal: str) -> list[str]:
    """Return what was logged, but for what the link of another test says at its end."""
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if refusal in message or message.endswith("again")]


def refused_or_away(link: Link) -> bool:
    """Push what is not taken."""
    with suppress(Unavailable):
        assert push(link) != [""]
    return True


def test_callers_share_a_bounded_number_of_connections(link: Link, server: Redis) -> None:
    """More callers than connections wait for one another, and get through."""
    together = threading.Barrier(3)

    def answer() -> list[str]:
        together.wait(20)
        return [""]

    server.answer = answer
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(push(link))) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[""]] * 9
    assert len(server.connections) == 3


def open_together(link: Link, server: Redis, number: int) -> None:
    """Have so many connections: as many callers each wait for the others."""
    together = threading.Barrier(number)

    def answer() -> list[str]:
        together.wait(20)
        return [""]

    server.answer = answer
    threads = [threading.Thread(target=push, args=(link,)) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_no_more_connections_than_allowed(link: Link, server: Redis) -> None:
    """While all connections are in use another caller waits for one, and none is opened for it."""
    open_together(link, server, 3)
    held, free = threading.Barrier(4), threading.Event()

    def hold() -> list[str]:
        held.wait(20)
        free.wait(20)
        return [""]

    for connection in server.connections:
        connection.answer = hold
    server.answer = lambda: [""]
    threads = [threading.Thread(target=push, args=(link,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    held.wait(20)
    with pytest.raises(Unavailable, match="busy"):
        push(link, 0.5)
    free.set()
    for thread in threads:
        thread.join()
    assert len(server.connections) == 3


def test_with_one_broken_connection_the_idle_ones_are_closed(link: Link, server: Redis) -> None:
    """What broke one has most likely broken all: no other caller shall find that out for itself."""
    open_together(link, server, 2)
    for connection in server.connections:
        connection.answer = answer_timeout
    first, second = server.connections
    with pytest.raises(Unavailable, match="may have arrived"):
        push(link)
    assert first.closed
    assert second.closed


def test_waiting_callers_do_not_wake_each_other(link: Link, server: Redis) -> None:
    """Callers that wait together for a hanging connection burn no CPU."""
    server.reachable.clear()
    threads = [threading.Thread(target=time_of_failure, args=(link, 0.5)) for _ in range(4)]
    burnt, begun = time.process_time(), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.process_time() - burnt < (time.monotonic() - begun) / 2


def test_closed(link: Link, server: Redis) -> None:
    """A closed link has closed its connections and refuses."""
    push(link)
    link.close()
    assert server.connections[0].closed
    with pytest.raises(Unavailable, match="closed"):
        push(link)


def test_no_time_left(link: Link, server: Redis) -> None:
    """A deadline that has passed breaks nothing."""
    push(link)
    with pytest.raises(Unavailable, match="no time"):
        push(link, -1.0)
    assert not server.connections[0].closed


def test_warm_up(link: Link, server: Redis) -> None:
    """A connection is open before anybody pushes, and is the one that is then used."""
    assert link.warm_up(20)
    assert len(server.connections) == 1
    assert push(link) == [""]
    assert link.warm_up(20)
    assert server.attempts == 1


def test_warm_up_holds_nobody(link: Link, server: Redis) -> None:
    """One that can't wait for the connection is let go; it is opened all the same, and nobody believes Redis away."""
    server.reachable.clear()
    assert not link.warm_up(0)
    server.reachable.set()
    until(lambda: len(server.connections) == 1)
    assert push(link) == [""]
    assert server.attempts == 1


def test_warm_up_without_redis(link: Link, server: Redis) -> None:
    """It tells at once that Redis refuses, whatever time it has."""
    server.refuses = True
    start = time.monotonic()
    assert not link.warm_up(20)
    assert time.monotonic() - start < 10
    link.close()
    assert not link.warm_up(20)
