"""TLS 1.2 lets a server ask for new keys in the middle of an exchange; Python's ssl can't, OpenSSL's server can."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import ssl
import subprocess
import sys
import termios
from collections.abc import Generator
from pathlib import Path

import pytest

from tasks.report import InDoubt
from tests.support.certificates import Authority
from tests.support.http_clients import Clients, signed
from tests.support.raw_server import OK
from tests.support.wait import coming

client = Clients("builtin")
pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl program is not installed"
)


class OpensslServer:
    """OpenSSL's own server: what is written to it is sent, but for a line that is `r`, which asks for new keys."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._typed, self._printed = process.stdin.fileno(), process.stdout.fileno()
        self.url = url

    async def has_printed(self, what: bytes) -> None:
        """Return once it has printed this."""
        seen = b""
        while what not in seen:
            seen += (piece := await asyncio.to_thread(os.read, self._printed, 4096))
            assert piece, seen

    async def type(self, what: bytes) -> None:
        """Let it read this in one piece; return once it has."""
        os.write(self._typed, what)
        await coming(lambda: not any(fcntl.ioctl(self._typed, termios.FIONREAD, bytes(4))))

    async def ask_for_new_keys(self) -> None:
        """Begin another handshake."""
        await self.type(b"r\n")
        await self.has_printed(b"SSL_do_handshake -> 1")


@contextlib.contextmanager
def openssl_server(certificate: Path) -> Generator[OpensslServer]:
    """Yield a server with this certificate."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(certificate), "-tls1_2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=sys.stderr) as process:
        try:
            yield OpensslServer(process, f"https://127.0.0.1:{port}/")
        finally:
            process.kill()


@pytest.mark.parametrize("when", ["before the answer", "in the answer"])
async def test_new_keys_in_an_exchange_change_nothing(tmp_path: Path, when: str) -> None:
    """The answer is read as if they had been there from the start, and the connection serves the next request."""
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.file))
    with openssl_server(authority.sign("server")) as server:
        await server.has_printed(b"ACCEPT")
        async with client(tls=trusting) as sender, asyncio.timeout(60):
            for _ in range(2):
                sending = asyncio.create_task(sender.send(signed(server.url)))
                await server.has_printed(b"{}")
                if when == "in the answer":
                    await server.type(OK[:30])
                await server.ask_for_new_keys()
                await server.type(OK[30:] if when == "in the answer" else OK)
                assert (await sending).body == b"ok"


async def test_who_refuses_new_keys_gets_no_answer(tmp_path: Path) -> None:
    """The negative control: the server does ask, and a client that says no is in doubt."""
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.file))
    trusting.options |= ssl.OP_NO_RENEGOTIATION
    with openssl_server(authority.sign("server")) as server:
        await server.has_printed(b"ACCEPT")
        async with client(tls=trusting) as sender, asyncio.timeout(60):
            sending = asyncio.create_task(sender.send(signed(server.url)))
            await server.has_printed(b"{}")
            await server.ask_for_new_keys()
            with pytest.raises(InDoubt):
                await sending
