import asyncio
import contextlib
import gc
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from providers import Answer
from tasks.report import InDoubt, NotSent, TooLate
from tests.support.certificates import Authority
from tests.support.http_clients import Clients, server_context, signed, trusting
from tests.support.raw_server import OK, RawServer, answering, full_backlog, silent
from tests.support.wait import coming
from worker.http.client import OwnClient
from worker.http.connections import Connections
from worker.http.dial import ADDRESS_TTL, LOOKUP_PAUSE, Dialer, LookUp, Place
from worker.http.http1 import HttpConnection
from worker.http.race import Address

client = Clients("builtin")

CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX-More: 1\r\n\r\n"
)


@contextlib.contextmanager
def listening() -> Generator[tuple[socket.socket, str]]:
    """Yield a socket that a test serves by hand, and its URL; blocking, so that the client's loop sees nothing yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}/"


async def accepted(listener: socket.socket) -> socket.socket:
    """Return the next connection, blocking, once there is one."""
    peer, _ = await asyncio.to_thread(listener.accept)
    peer.settimeout(10)
    return peer


def reset(peer: socket.socket) -> None:
    """Reset a connection."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


async def served(peer: socket.socket, answer: bytes = OK) -> None:
    """Read a request, as far as it came, and answer it."""
    await asyncio.to_thread(peer.recv, 65536)
    peer.sendall(answer)


async def test_what_came_before_the_request_is_not_its_answer() -> None:
    """An answer that waits in the kernel, where the loop has not seen it, is not taken for the next request's."""
    with listening() as (listener, url):
        async with client() as sender:
            sending = asyncio.create_task(sender.send(signed(url)))
            with await accepted(listener) as first:
                await served(first)
                await sending
                first.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale")
                # no turn of the loop between the stale answer and this request
                again = asyncio.create_task(sender.send(signed(url)))
                with await accepted(listener) as second:
                    await served(second)
                    assert (await again).body == b"ok"


async def test_a_kept_connection_that_ended_is_noticed() -> None:
    """Closed or reset where the loop has not seen it yet: the request takes another one, and is not in doubt."""
    for end in (socket.socket.close, reset):
        with listening() as (listener, url):
            async with client() as sender:
                sending = asyncio.create_task(sender.send(signed(url)))
                first = await accepted(listener)
                await served(first)
                await sending
                end(first)
                again = asyncio.create_task(sender.send(signed(url)))
                with await accepted(listener) as second:
                    await served(second)
                    assert (await again).body == b"ok"


async def test_a_server_that_speaks_first_is_not_asked() -> None:
    """A banner, or an answer to nothing, on a connection that is kept for a later request: that takes another one."""
    with listening() as (listener, url):
        async with client() as sender:
            with pytest.raises(TooLate):
                await sender.send(signed(url), 0.0)
            with await accepted(listener) as first:
                first.sendall(OK)
                sending = asyncio.create_task(sender.send(signed(url)))
                with await accepted(listener) as second:
                    await served(second, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nasked")
                    assert (await sending).body == b"asked"
                assert await asyncio.to_thread(ended, first)


def ended(peer: socket.socket) -> bool:
    """Tell whether the other end ended the connection."""
    with contextlib.suppress(ConnectionResetError):
        return peer.recv(1) == b""
    return True


async def test_an_early_answer_is_an_answer() -> None:
    """A server may answer before it has read the request, and close."""
    early = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with listening() as (listener, url):
        async with client() as sender:
            sending = asyncio.create_task(sender.send(signed(url, b"x" * 60_000)))
            with await accepted(listener) as peer:
                await asyncio.to_thread(peer.recv, 10)
                peer.sendall(early)
                assert (await sending).status == 413


async def test_of_two_answers_in_one_the_first_counts() -> None:
    """The connection where a second one came carries no further request."""
    async with RawServer(answering(OK + OK)) as server, client() as sender:
        for _ in range(3):
            assert (await sender.send(signed(server.url))).body == b"ok"
    assert server.connections == 3


async def test_a_reset_at_every_byte_of_the_answer_leaves_doubt() -> None:
    """However far the answer came; with its last byte it is one."""
    for length in range(0, len(CHUNKED) + 1, 3):
        with listening() as (listener, url):
            async with client() as sender:
                sending = asyncio.create_task(sender.send(signed(url)))
                peer = await accepted(listener)
                await served(peer, CHUNKED[:length])
                if length == len(CHUNKED):
                    assert (await sending).body == b"hello"
                reset(peer)
                if length < len(CHUNKED):
                    with pytest.raises(InDoubt):
                        await sending


async def test_a_reset_at_any_byte_of_the_request_leaves_doubt() -> None:
    """However little of it was read: it was written."""
    for length in (0, 1, 20, 100, 200):
        with listening() as (listener, url):
            async with client() as sender:
                sending = asyncio.create_task(sender.send(signed(url)))
                peer = await accepted(listener)
                if length:
                    await asyncio.to_thread(peer.recv, length)
                reset(peer)
                with pytest.raises((InDoubt, NotSent)) as caught:
                    await sending
                assert length == 0 or caught.type is InDoubt


@pytest.mark.parametrize("before", [b"", OK[:-1], b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_half_close_before_the_answer_leaves_doubt(before: bytes) -> None:
    """A server that will write no more never answers; nobody waits for the timeout."""
    with listening() as (listener, url):
        async with client(read=60.0) as sender, asyncio.timeout(30):
            sending = asyncio.create_task(sender.send(signed(url)))
            with await accepted(listener) as peer:
                await served(peer, before)
                peer.shutdown(socket.SHUT_WR)
                with pytest.raises(InDoubt):
                    await sending


async def test_a_half_close_ends_an_answer_without_a_length() -> None:
    """The server still reads, but what it had to say is said."""
    with listening() as (listener, url):
        async with client(read=60.0) as sender, asyncio.timeout(30):
            sending = asyncio.create_task(sender.send(signed(url)))
            with await accepted(listener) as peer:
                await served(peer, b"HTTP/1.0 200 OK\r\n\r\nall of it")
                peer.shutdown(socket.SHUT_WR)
                assert (await sending).body == b"all of it"


BLOBS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    "a chunk's extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"e" * 65536),
    "a head": (b"HTTP/1.1 200 OK\r\nX-A: ", b"e" * 65536),
    "a body": (b"HTTP/1.1 200 OK\r\n\r\n", b"e" * 65536),
}


@pytest.mark.parametrize("storm", BLOBS)
async def test_a_storm_is_cut_at_once(storm: str) -> None:
    """Whoever talks without end is not listened to until the timeout, and others are answered meanwhile."""
    first, blob = BLOBS[storm]

    async def storming(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(blob)
            await writer.drain()

    async with (
        RawServer(storming) as hostile,
        RawServer(answering(OK)) as calm,
        client(read=120.0) as sender,
        asyncio.timeout(60),
    ):
        storms = [asyncio.create_task(sender.send(signed(hostile.url))) for _ in range(5)]
        for _ in range(20):
            assert (await sender.send(signed(calm.url))).body == b"ok"
        for answer in await asyncio.gather(*storms, return_exceptions=True):
            assert isinstance(answer, InDoubt)
            assert "ReadTimeout" not in str(answer)


async def test_a_cancelled_request_ends_its_connection() -> None:
    """Its answer is still to come: the next request would take it for its own."""
    with listening() as (listener, url):
        async with client() as sender:
            sending = asyncio.create_task(sender.send(signed(url)))
            with await accepted(listener) as first:
                await asyncio.to_thread(first.recv, 65536)
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sending
                again = asyncio.create_task(sender.send(signed(url)))
                with await accepted(listener) as second:
                    await served(second)
                    assert (await again).body == b"ok"
                assert await asyncio.to_thread(ended, first)


async def test_faults_leave_nothing_behind() -> None:
    """After however many of them no connection is open, and none is remembered."""

    async def resetting_half(writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-1])
        await writer.drain()
        writer.close()

    async with RawServer(resetting_half) as server, client(connections=5) as sender:
        for _ in range(200):
            with pytest.raises(InDoubt):
                await sender.send(signed(server.url))
    await coming(lambda: not server.open)
    gc.collect()
    assert sum(isinstance(found, HttpConnection) for found in gc.get_objects()) <= 1


# TLS


@pytest.mark.parametrize(
    ("answer", "notified", "whole"),
    [
        (OK, True, True),
        (OK, False, True),
        (OK[:-1], True, False),
        (OK[:-1], False, False),
        (b"HTTP/1.0 200 OK\r\n\r\nok", True, True),
    ],
)
async def test_an_end_of_tls(tmp_path: Path, answer: bytes, notified: bool, whole: bool) -> None:
    """With or without the notice that it is one: half an answer leaves doubt, a whole one counts."""

    async def ending(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if notified:
            writer.close()
        else:
            fd: int = writer.get_extra_info("socket").fileno()
            with socket.socket(fileno=socket.dup(fd)) as bare:
                bare.shutdown(socket.SHUT_WR)

    async with (
        RawServer(ending, tls=server_context(tmp_path)) as server,
        client(tls=trusting(tmp_path), read=60.0) as sender,
        asyncio.timeout(30),
    ):
        for _ in range(2):
            if whole:
                assert (await sender.send(signed(server.url))).body == b"ok"
            else:
                with pytest.raises(InDoubt):
                    await sender.send(signed(server.url))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_tls_connection_is_kept(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """The tickets that a server sends after the handshake are no word out of turn."""
    tls = server_context(tmp_path)
    tls.maximum_version = version
    async with RawServer(answering(OK), tls=tls) as server, client(tls=trusting(tmp_path)) as sender:
        for _ in range(5):
            assert (await sender.send(signed(server.url))).body == b"ok"
    assert server.connections == 1


async def test_the_systems_authorities_vouch_for_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a context of the test's own: who is trusted is what the system says, and the name is checked."""
    tls = server_context(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with RawServer(answering(OK), tls=tls) as server, client() as sender:
        assert (await sender.send(signed(server.url))).body == b"ok"
        with pytest.raises(NotSent, match="certificate"):
            await sender.send(signed(server.url.replace("127.0.0.1", "localhost")))
    assert len(server.requests) == 1


async def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    """Nothing is sent to who can't prove any more who it is."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(Authority(tmp_path).sign("server", days=-1))
    async with RawServer(answering(OK), tls=tls) as server, client(tls=trusting(tmp_path)) as sender:
        with pytest.raises(NotSent, match="certificate has expired"):
            await sender.send(signed(server.url))
    assert server.requests == []


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x01"])
async def test_an_end_in_the_handshake_sent_nothing(said: bytes) -> None:
    """A server that speaks no TLS, or breaks off: nothing was sent."""
    with listening() as (listener, url):
        async with client() as sender, asyncio.timeout(30):
            sending = asyncio.create_task(sender.send(signed(url.replace("http:", "https:"))))
            with await accepted(listener) as peer:
                await served(peer, said)
                peer.shutdown(socket.SHUT_RDWR)
                with pytest.raises(NotSent):
                    await sending


# Addresses


async def test_an_ipv6_address_is_reached(tmp_path: Path) -> None:
    """In brackets, as its Host is; over TLS its certificate is for that address."""
    for tls in (None, server_context(tmp_path)):
        trusted = trusting(tmp_path) if tls else None
        async with RawServer(answering(OK), tls=tls, host="::1") as server, client(tls=trusted) as sender:
            assert (await sender.send(signed(server.url))).body == b"ok"
        assert b"Host: [::1]:" in server.requests[0]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return them."""
        return self.now


def resolved(*urls: str) -> LookUp:
    """Return a look-up that finds these servers under any name."""

    async def look_up(_: Place) -> list[Address]:
        places = map(Place.of, (url.removesuffix("/") for url in urls))
        return [
            (socket.AF_INET6 if ":" in one.host else socket.AF_INET, (one.host, one.port)) for one in places
        ]

    return look_up


@contextlib.asynccontextmanager
async def named(*urls: str, connect: float = 30.0) -> AsyncGenerator[OwnClient]:
    """Yield a client for which every name has these addresses."""
    connections = Connections(Dialer(None, resolved(*urls)), limit=10, timeout=connect)
    sender = OwnClient(connections, 5.0, lambda: True)
    try:
        yield sender
    finally:
        await sender.close()


async def test_a_dead_address_is_not_waited_for() -> None:
    """One that takes no connection costs the first one a moment; for those after it, it is the last to be tried."""
    with full_backlog() as dead:
        async with RawServer(answering(OK)) as server:
            found = await resolved(dead, server.url)(Place.of("http://provider"))
            dialer = Dialer(None, lambda _: asyncio.sleep(0, found))
            sender = OwnClient(Connections(dialer, limit=10, timeout=30.0), 5.0, lambda: True)
            async with asyncio.timeout(20):
                assert (await sender.send(signed("http://provider/"))).body == b"ok"
            await sender.close()
    assert found == await resolved(server.url, dead)(Place.of("http://provider"))


async def test_a_refused_address_is_passed_by() -> None:
    """The next one is tried at once, of whichever family; when none answers all reasons are told."""
    with listening() as (listener, closed):
        listener.close()
    async with RawServer(answering(OK), host="::1") as server, named(closed, server.url) as sender:
        assert (await sender.send(signed("http://provider/"))).body == b"ok"
    async with named(closed, closed.replace("127.0.0.1", "[::1]")) as sender:
        with pytest.raises(NotSent, match=r"ConnectError: .*127\.0\.0\.1.*::1"):
            await sender.send(signed("http://provider/"))


async def test_addresses_that_never_answer_end_at_the_timeout() -> None:
    """All of them together have the time that one connection has."""
    with full_backlog() as dead:
        async with named(dead, dead, dead, connect=0.4) as sender, asyncio.timeout(20):
            with pytest.raises(NotSent, match="ConnectTimeout"):
                await sender.send(signed("http://provider/"))


async def test_a_name_is_looked_up_once_for_all_who_ask() -> None:
    """Not for each connection, nor for each that fails; but again after a while: the addresses may be others then."""
    asked, clock = itertools.count(), Clock()
    urls: list[str] = []

    async def look_up(place: Place) -> list[Address]:
        next(asked)
        await asyncio.sleep(0)
        return await resolved(*urls)(place)

    connections = Connections(Dialer(None, look_up, clock), limit=10, timeout=5.0)
    sender = OwnClient(connections, 5.0, lambda: True)
    with listening() as (listener, closed):
        listener.close()
    urls.append(closed)
    for _ in range(3):
        with pytest.raises(NotSent):
            await sender.send(signed("http://provider/"))
    clock.now += LOOKUP_PAUSE
    async with RawServer(answering(OK)) as server:
        urls[:] = [server.url]
        answers = await asyncio.gather(*(sender.send(signed("http://provider/")) for _ in range(5)))
        assert all(isinstance(answer, Answer) for answer in answers)
        await sender.close()
    assert server.connections > 1
    assert next(asked) == 2


async def test_a_name_that_is_not_found_is_looked_up_more_and_more_seldom() -> None:
    """A hundred thousand events of one cost a look-up now and then, and each of them hears why."""
    asked, clock = 0, Clock()
    times: list[float] = []

    async def look_up(_: Place) -> list[Address]:
        nonlocal asked
        asked += 1
        times.append(clock.now)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    sender = OwnClient(Connections(Dialer(None, look_up, clock), limit=10, timeout=5.0), 5.0, lambda: True)
    for _ in range(1000):
        with pytest.raises(NotSent, match="Name or service not known"):
            await sender.send(signed("http://provider/"))
        clock.now += 0.06
    await sender.close()
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert asked < 12
    assert pauses == sorted(pauses)
    assert max(pauses) < ADDRESS_TTL + 0.2


async def test_a_name_that_is_found_again_is_used_at_once() -> None:
    """What was not found before does not count any more."""
    clock, found = Clock(), False

    async def look_up(place: Place) -> list[Address]:
        if not found:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await resolved(server.url)(place)

    sender = OwnClient(Connections(Dialer(None, look_up, clock), limit=10, timeout=5.0), 5.0, lambda: True)
    async with RawServer(answering(OK)) as server:
        with pytest.raises(NotSent):
            await sender.send(signed("http://provider/"))
        found = True
        clock.now += LOOKUP_PAUSE
        assert (await sender.send(signed("http://provider/"))).body == b"ok"
        await sender.close()


async def test_no_address_at_all_sent_nothing() -> None:
    """What is no URL of a host, and a name that is none: nothing of it is shown."""
    async with client() as sender:
        for url in (
            "ftp://host/",
            "http:///",
            "http://a@b/",
            "http://host:x/",
            "http://" + "x" * 70 + "/",
            "nothing",
        ):
            with pytest.raises(NotSent) as caught:
                await sender.send(signed(url + "?Secret=1"))
            assert "Secret" not in str(caught.value)
    with pytest.raises(ValueError, match="no address"):
        Place.of("http://user:secret@host")


async def test_a_hanging_server_holds_its_own_connections_alone() -> None:
    """Others are answered while its requests wait."""
    async with (
        RawServer(silent) as hanging,
        RawServer(answering(OK)) as calm,
        client(connections=6) as sender,
    ):
        waiting = [asyncio.create_task(sender.send(signed(hanging.url))) for _ in range(5)]
        for _ in range(20):
            assert (await sender.send(signed(calm.url))).body == b"ok"
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_request_that_is_given_up_never_arrives_later() -> None:
    """Its connection is reset, so that the kernel sends none of it any more."""
    with listening() as (listener, url):
        async with client(read=0.3) as sender:
            sending = asyncio.create_task(sender.send(signed(url)))
            with await accepted(listener) as peer:
                await asyncio.to_thread(peer.recv, 65536)
                with pytest.raises(InDoubt):
                    await sending
                with pytest.raises(ConnectionResetError):
                    await asyncio.to_thread(peer.recv, 1)
