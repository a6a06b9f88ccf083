import asyncio
import itertools
from collections.abc import Iterable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Answer
from tasks.report import InDoubt
from tests.support.wire import Wire
from worker.http.http1 import MAX_ANSWER, MAX_AROUND, MAX_INTERIM, MAX_READS, HttpConnection, request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\nX-Case: interim\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Case: Kept\r\nDate: now\r\n\r\n"
    b'3;why="not"\r\nhel\r\n2\r\nlo\r\n0\r\nDate: later\r\nX-More: 1\r\n\r\n'
)
Ending = Literal["", "closed", "reset"]


async def told(pieces: Iterable[bytes], ending: Ending = "closed") -> tuple[Answer | InDoubt, bool]:
    """Return what becomes of a request that is answered so, and whether its connection may carry another one."""
    wire = Wire()
    promised = wire.ask()
    for piece in pieces:
        if not wire.is_closing():
            wire.connection.data_received(piece)
    reusable = wire.connection.reusable
    if ending == "closed" and not wire.is_closing():
        wire.connection.eof_received()
    if ending:
        wire.end(ConnectionResetError("reset") if ending == "reset" else None)
        await asyncio.sleep(0)
        assert wire.lost == 1
    assert promised.done(), "somebody waits for ever"
    try:
        return await promised, reusable
    except InDoubt as error:
        return error, reusable


def outcome(pieces: Iterable[bytes], ending: Ending = "closed") -> tuple[Answer | InDoubt, bool]:
    """Do so in a loop of its own."""
    return asyncio.run(told(pieces, ending))


def facts(answer: Answer | InDoubt) -> tuple[int, dict[str, str], bytes]:
    """Return what an answer says."""
    assert isinstance(answer, Answer), answer
    return answer.status, dict(answer.headers), answer.body


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return the bytes cut at these places."""
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges) if start < end]


async def test_every_split_gives_the_same_answer() -> None:
    """Wherever the network cuts an answer in two, or into single bytes, it is the same one, without its trailers."""
    expected = (200, {"transfer-encoding": "chunked", "x-case": "Kept", "date": "now"}, b"hello")
    for place in range(len(CHUNKED) + 1):
        answer, reusable = await told(cut(CHUNKED, [place]))
        assert facts(answer) == expected
        assert reusable
    answer, reusable = await told(cut(CHUNKED, range(len(CHUNKED))))
    assert facts(answer) == expected
    assert reusable


@pytest.mark.parametrize("ending", ["closed", "reset"])
async def test_an_end_at_every_byte_leaves_doubt(ending: Ending) -> None:
    """Without its last byte an answer is none, however the connection ends."""
    for whole in (CHUNKED, OK):
        for length in range(len(whole)):
            answer, reusable = await told([whole[:length]], ending)
            assert isinstance(answer, InDoubt), length
            assert not reusable


SAFE = st.text("abcXYZ019-", min_size=1, max_size=12)
HEADERS = st.lists(st.tuples(SAFE.map("X-{}".format), SAFE), max_size=8)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return the bytes of a right answer, chunked or with a length, and its body."""
    parts = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    headers = "".join(f"{name}: {value}\r\n" for name, value in draw(HEADERS)).encode()
    interim = b"HTTP/1.1 103 Early Hints\r\n" + headers + b"\r\n"
    body = b"".join(parts)
    if draw(st.booleans()):
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        framed = b"Transfer-Encoding: chunked\r\n" + headers + b"\r\n" + chunks + b"0\r\n" + headers + b"\r\n"
    else:
        framed = b"Content-Length: %d\r\n" % len(body) + headers + b"\r\n" + body
    return interim * draw(st.integers(0, MAX_INTERIM)) + b"HTTP/1.1 200 OK\r\n" + framed, body


@given(st.data(), answers())
def test_any_split_gives_any_answer(data: st.DataObject, whole: tuple[bytes, bytes]) -> None:
    """The pieces that a right answer comes in are never seen in what is read."""
    written, body = whole
    places = data.draw(st.lists(st.integers(0, len(written)), max_size=30))
    answer, reusable = outcome(cut(written, places), "")
    assert facts(answer)[2] == body
    assert reusable


@given(st.lists(st.binary(max_size=200), max_size=8), st.sampled_from(["closed", "reset"]))
def test_whatever_is_said_is_an_answer_or_leaves_doubt(pieces: list[bytes], ending: Ending) -> None:
    """Nothing else is ever raised."""
    for before in (b"", b"HTTP/1.1 ", OK[:-2], CHUNKED[:-20]):
        answer, _ = outcome([before, *pieces], ending)
        assert isinstance(answer, Answer | InDoubt)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"as far as it goes"),
        (b"HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", b"as far as it goes"),
    ],
)
async def test_the_end_ends_what_tells_of_no_other_end(head: bytes, body: bytes) -> None:
    """An answer without a length is whole when the server closes the connection, and in doubt when it is reset."""
    answer, reusable = await told([head + body])
    assert (facts(answer)[0], facts(answer)[2], reusable) == (200, body, False)
    answer, _ = await told([head + body], "reset")
    assert isinstance(answer, InDoubt)


@pytest.mark.parametrize("head", [b"204 No Content\r\n", b"304 Not Modified\r\nContent-Length: 5\r\n"])
async def test_an_answer_without_a_body_ends_with_its_head(head: bytes) -> None:
    """A 204 and a 304 have none, whatever they say of its length."""
    answer, reusable = await told([b"HTTP/1.1 " + head + b"\r\n"], "")
    assert facts(answer)[2] == b""
    assert reusable


@pytest.mark.parametrize(
    "written",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + OK,
        OK + b"x",
        OK + b"HTTP/1.1 200",
        OK + b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Other: 1\r\n\r\n",
    ],
    ids=[
        "close",
        "HTTP/1.0",
        "two answers",
        "a byte more",
        "another's beginning",
        "interim",
        "interim and more",
    ],
)
async def test_what_is_not_clean_is_not_used_again(written: bytes) -> None:
    """The answer counts, however it is cut; the connection carries no other one."""
    for place in range(len(written)):
        answer, reusable = await told(cut(written, [place]))
        status, headers, body = facts(answer)
        assert (status, headers.pop("connection", "close"), headers, body) == (
            200,
            "close",
            {"content-length": "2"},
            b"ok",
        )
        assert not reusable


async def test_headers_are_found_by_lower_case_name() -> None:
    """What stands twice is joined; a value keeps its bytes."""
    head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nX-B: \xe9\r\nContent-Length: 0\r\n\r\n"
    answer, _ = await told([head])
    assert facts(answer)[1] == {"x-a": "1, 2", "x-b": "é", "content-length": "0"}
    assert isinstance(answer, Answer)
    assert "X-A" not in answer.headers
    assert len(answer.headers) == 3


def long(around: bytes) -> list[bytes]:
    """Return an answer with something endless in it, in pieces as a loop hands them out."""
    data = around + b"e" * (4 * MAX_AROUND)
    return [data[start : start + 50_000] for start in range(0, len(data), 50_000)]


CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STORMS = {
    "interim answers": [b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1) + OK],
    "interim answers, one by one": [*[b"HTTP/1.1 100 Continue\r\n\r\n"] * (MAX_INTERIM + 1), OK],
    "an interim head": long(b"HTTP/1.1 100 Continue\r\nX-A: "),
    "a head": long(b"HTTP/1.1 200 OK\r\nX-A: "),
    "a reason": long(b"HTTP/1.1 200 "),
    "headers": [b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * MAX_AROUND],
    "a chunk's extension": long(CHUNKS + b"5;"),
    "a trailer": long(CHUNKS + b"0\r\nX-A: "),
    "chunks of a byte": [CHUNKS + b"1\r\nx\r\n" * MAX_AROUND],
    "lines before the answer": [b"\r\n" * MAX_AROUND + OK],
    "pieces of a byte": [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", *[b"x"] * MAX_READS],
    "a body": [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 65536] * 5],
    "a body with a length": [b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000],
}


@pytest.mark.parametrize("pieces", STORMS.values(), ids=STORMS)
async def test_all_that_is_said_is_bounded(pieces: list[bytes]) -> None:
    """Whatever goes on without end: the connection is cut, at once and not at a timeout."""
    answer, reusable = await told(pieces, "")
    assert isinstance(answer, InDoubt)
    assert not reusable


async def test_a_long_piece_is_not_read_to_its_end() -> None:
    """A loop hands out a quarter of a megabyte at once: what is parsed of it is bounded as well."""
    wire = Wire()
    promised = wire.ask()
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 4 * MAX_AROUND)
    parsed: int = vars(wire.connection)["_received"]
    assert parsed < 2 * MAX_AROUND
    assert isinstance(promised.exception(), InDoubt)
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM + OK],
        [b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * (MAX_AROUND - 100) + b"\r\nContent-Length: 0\r\n\r\n"],
        [CHUNKS + b"400\r\n" + b"x" * 1024 + b"\r\n"]
        + [b"400\r\n" + b"x" * 1024 + b"\r\n"] * 255
        + [b"0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MAX_ANSWER + b"x" * MAX_ANSWER],
    ],
    ids=["interim answers", "head", "chunks", "body"],
)
async def test_what_keeps_the_bounds_is_read(pieces: list[bytes]) -> None:
    """The bounds are far above any answer of a provider."""
    answer, reusable = await told(pieces, "")
    assert isinstance(answer, Answer)
    assert reusable


async def test_a_connection_that_is_kept_holds_no_answer() -> None:
    """Four hundred kept connections hold nothing of what they carried."""
    wire = Wire()
    promised = wire.ask()
    body = b"x" * MAX_ANSWER
    wire.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MAX_ANSWER + body)
    assert len((await promised).body) == MAX_ANSWER
    assert wire.connection.reusable
    assert not [name for name, value in vars(wire.connection).items() if value in ([body], body)]
    assert vars(wire.connection)["_pieces"] == []
    promised = wire.ask()
    wire.connection.data_received(OK)
    assert dict((await promised).headers) == {"content-length": "2"}
    wire.end()
    await asyncio.sleep(0)


async def test_a_word_out_of_turn_ends_the_connection() -> None:
    """Before the first request as after an answer."""
    for asked in (False, True):
        wire = Wire()
        if asked:
            promised = wire.ask()
            wire.connection.data_received(OK)
            await promised
        assert wire.connection.reusable
        wire.connection.data_received(b"H")
        assert not wire.connection.reusable
        assert wire.is_closing()
        await asyncio.sleep(0)


async def test_a_connection_that_waits_for_an_answer_is_not_reusable() -> None:
    """Its answer would be taken for the next request's."""
    wire = Wire()
    promised = wire.ask()
    assert not wire.connection.reusable
    wire.connection.data_received(OK)
    assert wire.connection.reusable
    await promised
    wire.end()
    await asyncio.sleep(0)


async def test_who_hears_an_answer_may_use_its_connection_at_once() -> None:
    """When the answer is told, the connection is as it is afterwards: free, or ended."""
    for answer, free in ((OK, True), (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", False)):
        wire, seen = Wire(), list[bool]()

        def hear(connection: HttpConnection, _: object, seen: list[bool] = seen) -> None:
            seen.append(connection.reusable)

        wire.connection.ask(b"POST", hear)
        wire.connection.data_received(answer)
        if not free:
            wire.connection.eof_received()
        assert seen == [free]
        wire.end()
        await asyncio.sleep(0)


@given(st.text("aä\r\n :", max_size=6), st.text("aä\r\n :", max_size=6), st.text("aä\r\n /?", max_size=6))
def test_a_request_holds_no_line_of_anybody_elses(name: str, value: str, target: str) -> None:
    """Neither a header nor the target can add a line, or end the first one early; nothing given is shown."""
    sound = (
        (name + value + target).isascii() and not {*"\r\n"} & {*name, *value, *target} and " " not in target
    )
    if sound:
        written = request("POST", "/" + target, "host", ((name, value),), b"body")
        lines = f"POST /{target} HTTP/1.1", "Host: host", f"{name}: {value}", "Content-Length: 4", "", "body"
        assert written.decode().split("\r\n") == [*lines]
    else:
        with pytest.raises(ValueError, match=r"^a header, or the target, holds a line break or no ASCII$"):
            request("POST", "/" + target, "host", ((name, value),), b"body")
