"""Requests by an account's route: through a proxy, with its authorities, certificate and source address."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from config.proxy import ProxyServer
from config.route import Route
from config.settings import HttpEngine
from tasks.report import InDoubt, NotSent
from tests.support.certificates import Authority
from tests.support.http_clients import Clients, server_context, signed
from tests.support.raw_server import OK, Handler, RawServer, answering, closing, silent
from tests.support.tinyproxy import Tinyproxy
from tests.support.wait import coming
from worker.http.client import HttpClient
from worker.http.dial import Dialer, Place
from worker.http.race import Address

ENGINES: list[HttpEngine] = ["builtin", "httpx"]
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture(params=ENGINES)
def client(request: pytest.FixtureRequest) -> Clients:
    """Return the clients of each engine in turn."""
    return Clients(request.param)


def through(url: str, folder: Path | None = None) -> Route:
    """Return the route through a proxy, which trusts the authority of a folder."""
    return Route(ProxyServer.parse(url), ca_bundle=str(folder / "authority.pem") if folder else "")


async def forwarding(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    said: bytes = OPENED,
    *,
    bytewise: bool = False,
) -> None:
    """Be a proxy that opens every tunnel."""
    _, target, _ = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
    host, _, port = target.decode().rpartition(":")
    there, back = await asyncio.open_connection(host.strip("[]"), int(port))
    for start in range(0, len(said), 1 if bytewise else len(said)):
        writer.write(said[start : start + 1] if bytewise else said)
        await asyncio.sleep(0.001)  # so that it is read by itself

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()

    await asyncio.gather(pump(reader, back), pump(there, writer))


@contextlib.asynccontextmanager
async def encrypted_proxy(folder: Path) -> AsyncGenerator[str]:
    """Yield the URL of a proxy that speaks TLS, by the authority of the folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = await asyncio.start_server(forwarding, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize("encrypted", [False, True])
async def test_through_a_real_proxy(tmp_path: Path, encrypted: bool) -> None:
    """A tunnel is asked for once, and kept; the provider's TLS is inside, and its target as it was signed."""
    tls = server_context(tmp_path) if encrypted else None
    with Tinyproxy(tmp_path) as proxy:
        async with RawServer(answering(OK), tls=tls) as server, Clients()() as sender:
            http = sender.by(through(proxy.url, tmp_path if encrypted else None))
            for _ in range(3):
                assert (await http.send(signed(server.url + "a%2Fb?c"))).body == b"ok"
        assert proxy.connects == 1
        assert server.requests[0].startswith(b"POST /a%2Fb?c HTTP/1.1\r\n")
        assert server.connections == 1


async def test_a_proxy_that_wants_a_password(tmp_path: Path) -> None:
    """It gets one; without, or with a wrong one, nothing is sent, and the fault says so but no password."""
    tls = server_context(tmp_path)
    with Tinyproxy(tmp_path, user="user") as proxy:
        async with RawServer(answering(OK), tls=tls) as server, Clients()() as sender:
            route = through(proxy.url, tmp_path)
            assert route.proxy is not None
            assert (await sender.by(route).send(signed(server.url))).status == 200
            for wrong in (
                replace(route.proxy, password="hunter2"),
                replace(route.proxy, user="", password=""),
            ):
                with pytest.raises(NotSent, match=r"answered 40[17] ") as refused:
                    await sender.by(replace(route, proxy=wrong)).send(signed(server.url))
                assert "hunter2" not in str(refused.value)
        assert len(server.requests) == 1


async def test_the_providers_name_is_checked_in_the_tunnel(tmp_path: Path) -> None:
    """A certificate for another name is refused there, too, and no byte of the request leaves."""
    tls = server_context(tmp_path)
    with Tinyproxy(tmp_path) as proxy:
        async with RawServer(answering(OK), tls=tls) as server, Clients()() as sender:
            http = sender.by(through(proxy.url, tmp_path))
            assert (await http.send(signed(server.url))).status == 200
            with pytest.raises(NotSent, match=r"by proxy http.*not valid for 'localhost'"):
                await http.send(signed(server.url.replace("127.0.0.1", "localhost")))
        assert len(server.requests) == 1


async def test_a_proxy_that_closes_idle_tunnels(tmp_path: Path) -> None:
    """The next request opens another tunnel, and nothing is in doubt."""
    tunnels: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnels.append(writer)
        await forwarding(reader, writer)

    async with (
        RawServer(answering(OK), tls=server_context(tmp_path)) as server,
        await asyncio.start_server(handle, "127.0.0.1", 0) as proxy,
        Clients()() as sender,
    ):
        http = sender.by(through(f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}", tmp_path))
        for made in range(1, 5):
            assert (await http.send(signed(server.url))).status == 200
            assert len(tunnels) == made
            (tunnels[-1].close if made % 2 else tunnels[-1].transport.abort)()
            await coming(lambda: server.open == 0)


async def test_a_proxy_with_a_dead_address() -> None:
    """The other addresses of its name are tried, beside the one that does not answer."""
    # 192.0.2.1 is no one's (RFC 5737); ::1 at this port refuses
    async with await asyncio.start_server(forwarding, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        asked: list[tuple[str, int]] = []

        async def look_up(place: Place) -> list[Address]:
            asked.append(place.first)
            return [
                (socket.AF_INET6, ("::1", port, 0, 0)),
                (socket.AF_INET, ("192.0.2.1", port)),
                (socket.AF_INET, ("127.0.0.1", port)),
            ]

        async with RawServer(answering(OK)) as server:
            place = Place.of(server.url.rstrip("/"), through("http://many.example:8"))
            connection = await Dialer(look_up=look_up).connect(place, lambda _: None)
            connection.cut()
        assert asked == [("many.example", 8)]


async def test_a_proxy_on_ipv6(tmp_path: Path) -> None:
    """Its address stands in brackets, as the provider's does in the question for a tunnel."""
    tls = server_context(tmp_path)
    with Tinyproxy(tmp_path, host="::1") as proxy:
        async with RawServer(answering(OK), tls=tls, host="::1") as server, Clients()() as sender:
            answer = await sender.by(through(proxy.url, tmp_path)).send(signed(server.url))
        assert answer.status == 200
        assert "CONNECT [::1]:" in proxy.log or "CONNECT ::1:" in proxy.log


async def test_a_proxy_behind_tls(tmp_path: Path) -> None:
    """TLS to the proxy, and the provider's inside; each is verified."""
    tls = server_context(tmp_path)
    async with (
        encrypted_proxy(tmp_path) as url,
        RawServer(answering(OK), tls=tls) as server,
        Clients()() as sender,
    ):
        http = sender.by(through(url, tmp_path))
        for _ in range(2):
            assert (await http.send(signed(server.url))).status == 200
        assert server.connections == 1
        with pytest.raises(NotSent, match=r"(?i)certificate"):
            await sender.by(through(url)).send(signed(server.url))


SAID = {
    "no reason": b"HTTP/1.1 200\r\n\r\n",
    "lower case": b"HTTP/1.0 200 ok\r\nvia: x\r\ncontent-length: 0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nVia: x\n\n",
    "another success": b"HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("said", SAID)
async def test_answers_that_open_a_tunnel(said: str, tmp_path: Path) -> None:
    """However an answer is written and split: the tunnel is open."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forwarding(reader, writer, SAID[said], bytewise=True)

    async with (
        RawServer(answering(OK), tls=server_context(tmp_path)) as server,
        await asyncio.start_server(handle, "127.0.0.1", 0) as proxy,
        Clients()() as sender,
    ):
        route = through(f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}", tmp_path)
        assert (await sender.by(route).send(signed(server.url))).status == 200


async def dripping_head(writer: asyncio.StreamWriter) -> None:
    """Begin an answer and never come to its end, a byte now and then."""
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not writer.is_closing():
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.02)


ODD: dict[str, tuple[Handler, str]] = {
    "refuses": (answering(b"HTTP/1.1 403 Filtered\r\nContent-Length: 0\r\n\r\n"), "403 Filtered"),
    "has no way": (answering(b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>"), "502 Bad Gateway"),
    "speaks no HTTP": (answering(b"SSH-2.0-OpenSSH\r\n\r\n"), "no HTTP"),
    "shows escapes": (answering(b"HTTP/1.1 403 \x1b[2J\r\n\r\n"), r"403 \[2J to"),
    "says more": (
        answering(OPENED + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        "more than its answer",
    ),
    "never ends": (answering(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000), "more than its answer"),
    "ends": (closing(), "ended the connection"),
    "ends halfway": (closing(b"HTTP/1.1 200 OK\r\nX:"), "ended the connection"),
    "is silent": (silent, "Timeout: by proxy http://127"),
    "drips": (dripping_head, "Timeout: by proxy http://127"),
    "says the body": (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        "more than its answer",
    ),
    "opens nothing": (closing(OPENED), "(?i)connect|eof|closed|end"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_opens_no_tunnel(kind: str, scheme: str) -> None:
    """Whatever it says, the request was not sent, no byte of it is on the way, and the fault names the proxy's part."""
    handler, said = ODD[kind]
    patience = 0.5 if "Timeout" in said else 30.0
    async with RawServer(handler) as proxy, Clients()(connect=patience) as sender:
        http = sender.by(through(proxy.url))
        with pytest.raises(
            NotSent if scheme == "https" or kind != "opens nothing" else (NotSent, InDoubt), match=said
        ):
            await http.send(signed(f"{scheme}://127.0.0.1:9/"))
        assert all(request.startswith(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\n") for request in proxy.requests)
        if kind not in {"is silent", "drips"}:
            assert b"AKID" not in b"".join(proxy.requests)
        # and the next request is not harmed
        async with RawServer(answering(OK)) as server:
            assert (await sender.send(signed(server.url))).status == 200


async def test_a_proxy_that_quotes_the_password() -> None:
    """What a proxy says stands in logs and dead letters; what it was sent does not."""
    quoting = answering(b"HTTP/1.1 407 Basic dXNlcjpzM2NyZXQ= is s3cret\r\n\r\n")
    async with RawServer(quoting) as proxy, Clients()() as sender:
        route = through(proxy.url.replace("//", "//user:s3cret@"))
        with pytest.raises(NotSent, match=r"407 Basic \*\*\* is \*\*\* to CONNECT"):
            await sender.by(route).send(signed("https://127.0.0.1:9/"))
        assert b"Basic dXNlcjpzM2NyZXQ=\r\n" in proxy.requests[0]


async def test_a_proxy_that_is_not_there(tmp_path: Path) -> None:
    """The fault tells the proxy from the provider."""
    async with Clients()() as sender:
        with pytest.raises(NotSent, match=r"proxy http://127.0.0.1:9|All connection attempts failed"):
            await sender.by(through("http://127.0.0.1:9")).send(signed("https://127.0.0.1:10/"))
        with pytest.raises(NotSent):
            await sender.by(through("http://no.such.invalid")).send(signed("https://127.0.0.1:10/"))


async def test_the_authorities_of_a_file(client: Clients, tmp_path: Path) -> None:
    """They are trusted in place of the system's; those of another file don't let the request out."""
    tls = server_context(tmp_path)
    other = Authority(tmp_path, "other").file
    async with RawServer(answering(OK), tls=tls) as server, client() as sender:
        mine = Route(ca_bundle=str(tmp_path / "authority.pem"))
        assert (await sender.by(mine).send(signed(server.url))).status == 200
        for route in (Route(), Route(ca_bundle=str(other))):
            with pytest.raises(NotSent, match=r"(?i)certificate"):
                await sender.by(route).send(signed(server.url))
        assert len(server.requests) == 1


def asking_for_certificates(folder: Path) -> tuple[Authority, ssl.SSLContext]:
    """Return an authority, and the context of a server that lets clients in which it has signed."""
    authority = Authority(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.sign("server"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    return authority, context


@contextlib.asynccontextmanager
async def demanding(folder: Path) -> AsyncGenerator[tuple[RawServer, list[str], Authority]]:
    """Yield a server that asks for certificates, and the names that its clients had."""
    authority, context = asking_for_certificates(folder)
    names: list[str] = []

    async def handle(writer: asyncio.StreamWriter) -> None:
        subject = writer.get_extra_info("peercert")["subject"]
        names.append(dict(pair for row in subject for pair in row)["commonName"])
        writer.write(OK.replace(b"X-Case: Kept", b"Connection: close"))
        writer.close()

    async with RawServer(handle, tls=context) as server:
        yield server, names, authority


async def test_a_client_certificate(client: Clients, tmp_path: Path) -> None:
    """It is shown, with its key in the same file or in another; without one the server answers nothing."""
    async with demanding(tmp_path) as (server, names, authority), client() as sender:
        file = str(authority.sign("me"))
        route = Route(ca_bundle=str(authority.file), client_cert=file)
        for each in (route, replace(route, client_key=file)):
            assert (await sender.by(each).send(signed(server.url))).status == 200
        with pytest.raises((NotSent, InDoubt)):
            await sender.by(Route(ca_bundle=str(authority.file))).send(signed(server.url))
        assert names == ["me", "me"]


@contextlib.asynccontextmanager
async def strict(folder: Path) -> AsyncGenerator[tuple[str, Authority]]:
    """Yield the URL of a server that tells a client why its certificate is refused; asyncio's servers just end."""
    authority, context = asking_for_certificates(folder)
    handlers: list[asyncio.Future[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.ensure_future(writer.wait_closed()))
        heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(heard, said, server_side=True)
        wants_more = True
        while wants_more:
            heard.write(await reader.read(65536))
            try:
                tls.do_handshake()
            except ssl.SSLError as error:
                wants_more = isinstance(error, ssl.SSLWantReadError)
            writer.write(said.read())
        writer.write_eof()
        while await reader.read(65536):
            pass
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", authority
        async with asyncio.timeout(30):
            await asyncio.gather(*handlers, return_exceptions=True)


async def test_a_certificate_that_is_refused(tmp_path: Path, client: Clients) -> None:
    """The fault says why, and nothing is in doubt: the provider read no request before it knew its client."""
    async with strict(tmp_path) as (url, authority), client() as sender:
        trusted = Route(ca_bundle=str(authority.file))
        expired = replace(trusted, client_cert=str(authority.sign("old", days=-1)))
        stranger = replace(trusted, client_cert=str(Authority(tmp_path, "stranger").sign("me")))
        for route, why in (
            (trusted, "certificate required"),
            (expired, "certificate expired"),
            (stranger, "unknown ca"),
        ):
            with pytest.raises(NotSent, match=why):
                await sender.by(route).send(signed(url))


async def test_a_renewed_certificate_is_used(tmp_path: Path) -> None:
    """The next connection shows the new one; while the file is away or half written, the old one goes on."""
    async with demanding(tmp_path) as (server, names, authority), Clients()() as sender:
        mine = tmp_path / "mine.pem"
        mine.write_bytes(authority.sign("old").read_bytes())
        http = sender.by(Route(ca_bundle=str(authority.file), client_cert=str(mine)))
        steps: list[Callable[[], object]] = [
            lambda: None,
            mine.unlink,
            lambda: mine.write_bytes(b"-----BEGIN CERT"),
            lambda: mine.write_bytes(authority.sign("new").read_bytes()),
        ]
        for step in steps:
            step()
            await http.send(signed(server.url))
        assert names == ["old", "old", "old", "new"]


async def test_a_mounted_secret_that_is_swapped(tmp_path: Path) -> None:
    """Kubernetes replaces a link to the folder of both files: the next connection shows the new pair."""
    async with demanding(tmp_path) as (server, names, authority), Clients()() as sender:
        for name in ("old", "new"):
            text, mark, key = authority.sign(name).read_text().partition("-----BEGIN PRIVATE")
            (tmp_path / f"..{name}").mkdir()
            (tmp_path / f"..{name}" / "tls.crt").write_text(text)
            (tmp_path / f"..{name}" / "tls.key").write_text(mark + key)
        data = tmp_path / "..data"
        data.symlink_to("..old")
        for file in ("tls.crt", "tls.key"):
            (tmp_path / file).symlink_to(f"..data/{file}")
        route = Route(None, str(authority.file), str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))
        http = sender.by(route)
        await http.send(signed(server.url))
        (tmp_path / "..data_tmp").symlink_to("..new")
        (tmp_path / "..data_tmp").replace(data)
        await http.send(signed(server.url))
        assert names == ["old", "new"]


async def test_the_source_address(client: Clients) -> None:
    """Connections come from it; a provider without an address of its family can't be reached."""
    seen: list[str] = []

    async def handle(writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.write(OK)

    async with RawServer(handle) as server, client() as sender:
        await sender.by(Route(source_address="127.0.0.3")).send(signed(server.url))
        await sender.send(signed(server.url))
        for wrong in ("::1", "192.0.2.1"):
            with pytest.raises(NotSent):
                await sender.by(Route(source_address=wrong)).send(signed(server.url))
    assert seen == ["127.0.0.3", "127.0.0.1"]


async def test_routes_share_no_connection(tmp_path: Path) -> None:
    """What goes by one route never goes by another one's connection, though it goes to the same place."""
    with Tinyproxy(tmp_path) as proxy:
        async with RawServer(answering(OK)) as server, Clients()() as sender:
            http: HttpClient = sender
            for _ in range(2):
                await http.send(signed(server.url))
                await sender.by(through(proxy.url)).send(signed(server.url))
            assert len(server.requests) == 4
            assert server.connections == 3  # `by` makes a client of its own each time
