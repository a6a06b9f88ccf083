import asyncio
import contextlib
import gzip
import random
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from config.settings import HttpEngine
from providers import Answer, SignedRequest
from providers.base import UnreportableError, segment
from tasks.report import InDoubt, NotSent, TooLate
from tests.support.http_clients import QUERY, SECRET, Clients, server_context, signed, trusting
from tests.support.proxy import Proxy
from tests.support.raw_server import (
    OK,
    Handler,
    RawServer,
    answering,
    closing,
    dripping,
    full_backlog,
    parsed,
    resetting,
    silent,
)
from worker.embedded import free_port
from worker.http.http1 import MAX_ANSWER, Hears, HttpConnection

ENGINES: list[HttpEngine] = ["builtin", "httpx"]
PATHS = [
    "a/%2E%2E/b",
    "a/../b",
    "a%2Fb%2f/c",
    "a~b/%7E",
    "%C3%A9%E2%82%AC",
    "a//b/",
    "a+b&c=d;e,f@g:h!$'()*",
    "%00%0D%0A%25",
]


@pytest.fixture(params=ENGINES)
def client(request: pytest.FixtureRequest) -> Clients:
    """Return the clients of each engine in turn: both keep the same promises, but where a test says otherwise."""
    return Clients(request.param)


async def test_an_answer_is_read_whole(client: Clients) -> None:
    """Status, headers by lower-case name and the body come back as they were sent."""
    answer = await client.exchange(answering(OK))
    assert (answer.status, answer.body, answer.headers["x-case"]) == (200, b"ok", "Kept")


@pytest.mark.parametrize("status", [201, 302, 400, 403, 429, 500, 503])
async def test_every_status_is_an_answer(client: Clients, status: int) -> None:
    """What a status means is the provider's business: none raises."""
    answer = await client.exchange(answering(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    assert (answer.status, answer.body) == (status, b"")


async def test_the_request_is_sent_as_it_was_signed(client: Clients) -> None:
    """The query keeps its bytes, percent signs and all; of the headers none is added but Host and length."""
    async with RawServer(answering(OK)) as server, client() as sender:
        await sender.send(signed(server.url + QUERY, b'{"a": "\xff\x00"}'))
    line, headers, body = parsed(server.requests[0])
    assert line == f"POST /{QUERY} HTTP/1.1"
    assert headers == {
        "host": server.url.removeprefix("http://").removesuffix("/"),
        "authorization": f"TC3 {SECRET}",
        "content-type": "application/json",
        "x-acs-version": "1",
        "content-length": "11",
    }
    assert body == b'{"a": "\xff\x00"}'


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", PATHS)
async def test_a_path_is_sent_as_it_is(client: Clients, method: str, path: str) -> None:
    """Nothing of a path is decoded, encoded, joined or removed, and the method is the provider's."""
    async with RawServer(answering(OK)) as server, client() as sender:
        await sender.send(SignedRequest(server.url + path, (), b"", method))
    line, _, _ = parsed(server.requests[0])
    assert line == f"{method} /{path} HTTP/1.1"


@given(message_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=64))
def test_a_segment_holds_any_id(message_id: str) -> None:
    """Whatever an id is, it is one segment on the wire, and reads back; but `.` and `..` are none."""

    async def sent(engine: HttpEngine) -> str:
        async with RawServer(answering(OK)) as server, Clients(engine)() as sender:
            await sender.send(SignedRequest(f"{server.url}m/{segment(message_id)}/x", (), b""))
        return server.requests[0].split(b" ")[1].decode()

    if message_id in {".", ".."}:
        with pytest.raises(UnreportableError):
            segment(message_id)
        return
    for engine in ENGINES:
        parts = asyncio.run(sent(engine)).split("/")
        assert (parts[:2], unquote(parts[2]), parts[3:]) == (["", "m"], message_id, ["x"])


async def test_nothing_is_sent_that_was_not_signed(client: Clients) -> None:
    """Without headers and body there is no Content-Type, no User-Agent, no Accept: an empty POST."""
    async with RawServer(answering(OK)) as server, client() as sender:
        await sender.send(SignedRequest(server.url, (), b""))
    line, headers, body = parsed(server.requests[0])
    assert (line, body) == ("POST / HTTP/1.1", b"")
    assert set(headers) == {"host", "content-length"}
    assert headers["content-length"] == "0"


async def test_a_redirect_is_not_followed(client: Clients) -> None:
    """A signed request goes nowhere else, whatever the answer says."""
    async with RawServer(answering(OK)) as elsewhere:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
        answer = await client.exchange(answering(moved.encode()))
    assert answer.status == 307
    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [100, 103])
async def test_an_interim_answer_is_not_the_answer(client: Clients, status: int) -> None:
    """A 100 or 103 says that the answer is on its way, with headers of its own."""
    interim = b"HTTP/1.1 %d X\r\nX-Case: interim\r\n\r\n" % status
    answer = await client.exchange(answering(interim * 3 + OK))
    assert (answer.status, answer.headers["x-case"]) == (200, "Kept")


@pytest.mark.parametrize("upgrade", [b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"])
async def test_a_change_of_protocol_is_no_answer(client: Clients, upgrade: bytes) -> None:
    """Nobody asked for a 101: what follows it is not read as HTTP."""
    with pytest.raises(InDoubt):
        await client.exchange(answering(b"HTTP/1.1 101 X\r\n" + upgrade + b"\r\n" + OK))


async def test_an_answer_out_of_turn_is_nobodys(client: Clients) -> None:
    """What a server says after its answer is not read as the answer to the next request."""

    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale")

    bodies: list[bytes] = []
    async with RawServer(twice) as server, client() as sender:
        for _ in range(6):
            with contextlib.suppress(NotSent, InDoubt):
                bodies.append((await sender.send(signed(server.url))).body)
            await asyncio.sleep(0.05)
    assert set(bodies) == {b"ok"}


async def test_a_line_break_in_a_header_is_never_sent(client: Clients) -> None:
    """No value can add a header of its own."""
    async with RawServer(answering(OK)) as server, client() as sender:
        for header in (("X-A", "1\r\nX-B: 2"), ("X-A", "1\nX-B: 2"), ("X-A\r\nX-B", "2")):
            with pytest.raises(NotSent):
                await sender.send(SignedRequest(server.url, (header,), b""))
    assert not server.requests


async def test_cookies_are_not_kept(client: Clients) -> None:
    """What one answer sets, the next request does not say."""
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with RawServer(answering(cookie)) as server, client() as sender:
        for _ in range(2):
            await sender.send(signed(server.url))
    assert b"ookie" not in server.requests[1]


@pytest.mark.parametrize("body", [gzip.compress(b"x" * 1000, mtime=0), b"no gzip at all"])
async def test_a_compressed_answer_is_not_unpacked(client: Clients, body: bytes) -> None:
    """Nobody asked for compression: such a body is left as it came, no bomb and no error."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert (await client.exchange(answering(head + body))).body == body


async def test_a_refused_connection_sent_nothing(client: Clients) -> None:
    """Nobody listens: the request never left."""
    async with client() as sender:
        with pytest.raises(NotSent, match="ConnectError"):
            await sender.send(signed(f"http://127.0.0.1:{free_port()}/"))


async def test_a_host_without_a_name_sent_nothing(client: Clients) -> None:
    """The name is not found: the request never left."""
    async with client() as sender:
        with pytest.raises(NotSent):
            await sender.send(signed("http://provider.invalid/"))


async def test_a_connection_that_takes_too_long_sent_nothing(client: Clients) -> None:
    """A host that takes no connections: the request never left, and the wait is bounded."""
    with full_backlog() as url:
        began = time.monotonic()
        async with client(connect=0.2, read=30.0) as sender:
            with pytest.raises(NotSent, match="ConnectTimeout"):
                await sender.send(signed(url))
    assert time.monotonic() - began < 5 * 0.2 + 1


async def test_a_handshake_that_hangs_sent_nothing(client: Clients) -> None:
    """The TLS handshake gets no answer: the request never left."""
    async with RawServer(silent) as server, client(connect=0.2, read=30.0) as sender, asyncio.timeout(10):
        with pytest.raises(NotSent, match="ConnectTimeout"):
            await sender.send(signed(server.url.replace("http:", "https:")))


@pytest.mark.parametrize(
    "handler",
    [
        closing(),
        closing(b"HTTP/1.1 200 OK\r\nContent-Le"),
        closing(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf"),
        closing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        resetting,
        answering(b"\x16\x03\x01\x02\x00\x01"),
        answering(b"what?\r\n\r\n"),
        answering(b"HTTP/1.1 abc OK\r\n\r\n"),
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
        answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n"),
        answering(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n"),
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000),
    ],
    ids=[
        "eof",
        "eof in the head",
        "eof in the body",
        "eof in a chunk",
        "reset",
        "tls alert",
        "no http",
        "no status",
        "no length",
        "no chunk",
        "long header",
        "long body",
    ],
)
async def test_a_missing_answer_leaves_doubt(client: Clients, handler: Handler) -> None:
    """The request was sent, and no answer can be read: the provider may have it."""
    with pytest.raises(InDoubt) as caught:
        await client.exchange(handler)
    assert SECRET not in str(caught.value)
    assert "SmsConversion" not in str(caught.value)


async def test_the_longest_answer_is_read(client: Clients) -> None:
    """The bound is far above any answer of a provider, and what keeps it is read."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MAX_ANSWER
    assert len((await client.exchange(answering(head + b"x" * MAX_ANSWER))).body) == MAX_ANSWER


async def endless(writer: asyncio.StreamWriter) -> None:
    """Answer with a body that the end of the connection ends, and never end it."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nwhole as far as it goes")
    await silent(writer)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("handler", [silent, dripping, endless])
def test_an_answer_that_does_not_end_leaves_doubt(
    client: Clients,
    handler: Handler,
    encrypted: bool,
    run: Callable[[Coroutine[Any, Any, None]], None],
    tmp_path: Path,
) -> None:
    """No answer, or one that drips for ever: the whole exchange has a bound, on the loop that a worker has, too."""
    tls = server_context(tmp_path) if encrypted else None
    trusted = trusting(tmp_path) if encrypted else None

    async def send() -> None:
        async with RawServer(handler, tls=tls) as server, client(read=0.2, tls=trusted) as sender:
            with pytest.raises(InDoubt, match="ReadTimeout"):
                await sender.send(signed(server.url))

    began = time.monotonic()
    run(send())
    assert time.monotonic() - began < 5 * 0.3 + 1


async def test_each_request_has_the_whole_bound(client: Clients) -> None:
    """Who begins later is cut later, and an answer in time is taken, whatever else is cut meanwhile."""

    async def answering_late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.6)
        writer.write(OK)

    async with (
        RawServer(silent) as hanging,
        RawServer(answering_late) as late,
        client(read=1.0) as sender,
    ):
        first = asyncio.create_task(sender.send(signed(hanging.url)))
        await asyncio.sleep(0.7)
        second = asyncio.create_task(sender.send(signed(late.url)))
        third = asyncio.create_task(sender.send(signed(hanging.url)))
        with pytest.raises(InDoubt, match="ReadTimeout"):
            await first
        assert not second.done()
        assert not third.done()
        assert (await second).body == b"ok"
        assert not third.done()
        with pytest.raises(InDoubt, match="ReadTimeout"):
            await third


async def test_without_the_bound_a_dripping_answer_never_ends(client: Clients) -> None:
    """It is the bound on the whole that ends it: with a longer one the same answer is still waited for."""
    async with RawServer(dripping) as server, client(connect=0.1, read=60.0) as sender:
        sending = asyncio.create_task(sender.send(signed(server.url)))
        _, pending = await asyncio.wait([sending], timeout=1.0)
        assert pending == {sending}
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


async def test_no_answer_whatever_raises_anything_else(client: Clients) -> None:
    """Random and mangled bytes are an answer or leave doubt; nothing is left untranslated."""
    dice = random.Random(1)

    async def mangling(writer: asyncio.StreamWriter) -> None:
        mangled = bytearray(OK)
        for _ in range(dice.randrange(1, 6)):
            mangled[dice.randrange(len(mangled))] = dice.randrange(256)
        await closing(bytes(mangled) if dice.random() < 0.7 else dice.randbytes(dice.randrange(200)))(writer)

    async with RawServer(mangling) as server, client() as sender:
        for _ in range(300):
            with contextlib.suppress(InDoubt):
                assert isinstance(await sender.send(signed(server.url)), Answer)


async def test_one_connection_serves_many_requests(client: Clients) -> None:
    """A connection is kept and used again."""
    async with RawServer(answering(OK)) as server, client() as sender:
        for _ in range(5):
            await sender.send(signed(server.url))
    assert (server.connections, len(server.requests)) == (1, 5)


async def test_a_closed_connection_is_replaced(client: Clients) -> None:
    """After the server has closed a connection, the next request opens a new one."""
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    async with RawServer(answering(last)) as server, client() as sender:
        for _ in range(3):
            assert (await sender.send(signed(server.url))).status == 200
    assert server.connections == 3


async def test_after_a_fault_the_connection_is_not_used_again(client: Clients) -> None:
    """What is left of a broken answer is never taken for the next one."""
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n" + b"x" * 300_000
    async with RawServer(answering(long, OK)) as server, client() as sender:
        with pytest.raises(InDoubt):
            await sender.send(signed(server.url))
        assert (await sender.send(signed(server.url))).body == b"ok"
    assert server.connections == 2


async def test_the_connections_are_bounded(client: Clients) -> None:
    """More requests than connections wait for one; none is lost."""
    async with RawServer(slow) as server, client(connections=3) as sender:
        answers = await asyncio.gather(*(sender.send(signed(server.url)) for _ in range(12)))
    assert [answer.status for answer in answers] == [200] * 12
    assert server.most_at_once == 3


async def test_without_the_bound_there_are_more(client: Clients) -> None:
    """The server of these tests would take more connections at once."""
    async with RawServer(slow) as server, client(connections=100) as sender:
        await asyncio.gather(*(sender.send(signed(server.url)) for _ in range(12)))
    assert server.most_at_once > 3


async def slow(writer: asyncio.StreamWriter) -> None:
    """Answer after a moment."""
    await asyncio.sleep(0.05)
    writer.write(OK)


async def test_a_certificate_that_nobody_vouches_for_is_refused(client: Clients, tmp_path: Path) -> None:
    """Without a trusted certificate nothing is sent, and nothing reaches the server."""
    async with RawServer(answering(OK), tls=server_context(tmp_path)) as server, client() as sender:
        with pytest.raises(NotSent, match="certificate"):
            await sender.send(signed(server.url))
    assert server.requests == []


async def test_a_trusted_certificate_is_taken(client: Clients, tmp_path: Path) -> None:
    """The same server is talked to by who knows its authority: it is the trust that is missing."""
    server_tls = server_context(tmp_path)
    async with RawServer(answering(OK), tls=server_tls) as server, client(tls=trusting(tmp_path)) as sender:
        assert (await sender.send(signed(server.url))).body == b"ok"


async def test_a_certificate_for_another_name_is_refused(client: Clients, tmp_path: Path) -> None:
    """The certificate must be for the host that was asked."""
    server_tls = server_context(tmp_path)
    async with RawServer(answering(OK), tls=server_tls) as server, client(tls=trusting(tmp_path)) as sender:
        with pytest.raises(NotSent, match="certificate"):
            await sender.send(signed(server.url.replace("127.0.0.1", "localhost")))


async def test_who_may_send_no_more_sends_nothing(client: Clients) -> None:
    """Asked when the connection is there: a worker that stood still for so long that its lease ended keeps silent."""
    asked: list[int] = []

    def may_send() -> bool:
        asked.append(len(server.requests))
        return len(asked) != 2

    async with RawServer(answering(OK)) as server, client(connections=1, may_send=may_send) as sender:
        await sender.send(signed(server.url))
        with pytest.raises(TooLate):
            await sender.send(signed(server.url))
        await sender.send(signed(server.url))
    assert asked == [0, 1, 1]
    assert len(server.requests) == 2
    assert server.connections == 1, "what was not used is kept"


async def test_a_write_that_fails_gives_its_connection_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport may have ended without a word: that costs one request, not one of the connections for ever."""
    broken = True

    def ask(connection: HttpConnection, written: bytes, then: Hears) -> None:
        if broken:
            raise RuntimeError("unable to perform operation; the handler is closed")
        really(connection, written, then)

    really = HttpConnection.ask
    monkeypatch.setattr(HttpConnection, "ask", ask)
    async with RawServer(answering(OK)) as server, Clients("builtin")(connections=1) as sender:
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await sender.send(signed(server.url))
        broken = False
        async with asyncio.timeout(3):
            assert (await sender.send(signed(server.url))).status == 200


async def test_a_slow_connection_outlasts_the_slot(client: Clients) -> None:
    """What connects for longer than its slot lasts sends nothing; the next request finds the connection ready."""
    async with RawServer(answering(OK)) as server, client() as sender:
        with pytest.raises(TooLate):
            await sender.send(signed(server.url), time.monotonic() - 0.001)
        await sender.send(signed(server.url), time.monotonic() + 60.0)
    assert len(server.requests) == 1
    assert server.connections == 1


# What httpx keeps less well: the setting HTTP_ENGINE says so, and who chooses it takes it.


async def test_a_connection_that_takes_long_is_kept_for_a_later_request(
    client: Clients, tmp_path: Path
) -> None:
    """Our engine asks when the connection is there, httpx is asked before: it sends after the slot."""
    tls = server_context(tmp_path)
    async with RawServer(answering(OK), tls=tls) as server, client(tls=trusting(tmp_path)) as sender:
        with Proxy(int(server.url.rstrip("/").rpartition(":")[2]), delay=0.2) as slow_way:
            request = signed(slow_way.url.replace("redis://", "https://").removesuffix("0"))
            due = time.monotonic() + 0.1
            if client.engine == "httpx":
                assert (await sender.send(request, due)).body == b"ok"
            else:
                with pytest.raises(TooLate):
                    await sender.send(request, due)
                assert server.requests == []
            slow_way.delay = 0.0
            assert (await sender.send(request, time.monotonic() + 60.0)).body == b"ok"
        assert server.connections == 1


async def storming(writer: asyncio.StreamWriter) -> None:
    """Say without end that the answer is on its way."""
    while not writer.is_closing():
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await writer.drain()


async def test_a_storm_ends(client: Clients) -> None:
    """Our engine cuts it after a few of them, httpx listens until the read timeout."""
    with pytest.raises(InDoubt) as caught:
        await client.exchange(storming, read=0.5)
    assert ("ReadTimeout" in str(caught.value)) is (client.engine == "httpx")
