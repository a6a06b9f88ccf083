"""The connection for scripts, against a real server and against one that answers as it likes."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.support.proxy import Proxy
from worker.connect import RedisClient, connect
from worker.embedded import EmbeddedValkey
from worker.script_connection import ScriptConnection

Answers = Callable[[asyncio.StreamWriter, list[bytes]], Awaitable[None]]
ECHO = "return ARGV[1]"


class Server:
    """A server that reads commands and lets `answer` write what it likes; it counts who connects."""

    def __init__(self, answer: Answers) -> None:
        self._answer = answer
        self.connections = 0
        self.port = 0
        self._talks: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one more client."""
        self._talks.add(asyncio.ensure_future(self.serve(reader, writer)))

    async def ended(self) -> None:
        """Wait until every client has left."""
        await asyncio.gather(*self._talks)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read commands of one connection until it ends."""
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                words: list[bytes] = []
                for _ in range(int(line[1:])):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2])
                if words[0] in {b"CLIENT", b"PING"}:
                    writer.write(b"+PONG\r\n" if words[0] == b"PING" else b"+OK\r\n")
                else:
                    await self._answer(writer, words)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def talking_to(answer: Answers) -> AsyncGenerator[tuple[RedisClient, Server]]:
    """Yield a worker's client of such a server."""
    server = Server(answer)
    async with await asyncio.start_server(server.connected, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        client = connect(f"redis://127.0.0.1:{server.port}/0")
        try:
            yield client, server
        finally:
            await client.aclose()
            await server.ended()


class Opened:
    """A connection to a server that was opened by hand, for a time-out of its own."""

    is_current = True
    place = "here"

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def give_away(self) -> asyncio.StreamWriter:
        """Return the stream."""
        return self._writer


async def echo(writer: asyncio.StreamWriter, words: list[bytes]) -> None:
    """Answer with the last word, byte by byte, as a network may cut it."""
    for byte in b"$%d\r\n%b\r\n" % (len(words[-1]), words[-1]):
        writer.write(bytes([byte]))
        await writer.drain()


async def test_answers_come_in_order(valkey_server: EmbeddedValkey) -> None:
    """Many calls at once over one connection: each gets its own answer."""
    client = connect(valkey_server.url)
    calls = [client.eval(ECHO, 0, str(number)) for number in range(500)]
    assert await asyncio.gather(*calls) == [str(number).encode() for number in range(500)]
    untyped: Any = client
    assert len(await untyped.client_list()) == 2  # this question's, and the one of all the scripts
    await client.aclose()


async def test_answers_cut_anywhere() -> None:
    """An answer that comes in pieces is whole."""
    async with talking_to(echo) as (client, _):
        assert await asyncio.gather(*(client.eval("", 0, text) for text in ("a", "", "b" * 50))) == [
            b"a",
            b"",
            b"b" * 50,
        ]


async def test_a_cancelled_call_keeps_its_place() -> None:
    """The answer to a call that nobody waits for any more is not the next one's."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def answer(writer: asyncio.StreamWriter, words: list[bytes]) -> None:
        asked.set()
        await go.wait()
        await echo(writer, words)

    async with talking_to(answer) as (client, server):
        first = asyncio.ensure_future(client.eval("", 0, "first"))
        await asked.wait()
        second = asyncio.ensure_future(client.eval("", 0, "second"))
        first.cancel()
        go.set()
        assert await second == b"second"
        assert server.connections == 1


async def test_a_late_answer_fails_all_that_wait() -> None:
    """No call waits longer than its time, nor takes the answer of another: the connection ends."""

    async def never(_: asyncio.StreamWriter, __: list[bytes]) -> None:
        return

    async with talking_to(never) as (_, server):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        connection = ScriptConnection(Opened(writer), timeout=0.05)
        calls = [connection.call(b"*1\r\n$1\r\na\r\n"), connection.call(b"*1\r\n$1\r\nb\r\n")]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [RedisTimeoutError] * 2
        assert not connection.is_usable
        with pytest.raises(RedisConnectionError):
            await connection.call(b"*1\r\n$1\r\nc\r\n")


async def test_one_that_is_cut_is_opened_anew(valkey_server: EmbeddedValkey) -> None:
    """After a cut the calls under way fail, and the next one connects again."""
    with Proxy(valkey_server.port) as proxy:
        client = connect(proxy.url)
        assert await client.eval(ECHO, 0, "before") == b"before"
        proxy.cut()
        with suppress(RedisConnectionError):
            await client.eval(ECHO, 0, "meanwhile")
        assert await client.eval(ECHO, 0, "after") == b"after"
        await client.aclose()


async def test_all_that_come_while_it_opens_share_it() -> None:
    """A worker's calls after a cut open one connection, not one each."""
    async with talking_to(echo) as (client, server):
        assert await asyncio.gather(*(client.eval("", 0, "x") for _ in range(20))) == [b"x"] * 20
        assert server.connections == 1


async def test_nobody_there() -> None:
    """Where nobody listens every call fails with redis-py's error."""
    async with talking_to(echo) as (_, server):
        gone = server.port
    client = connect(f"redis://127.0.0.1:{gone}/0")
    answers = await asyncio.gather(*(client.eval("", 0) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [RedisConnectionError] * 3
    await client.aclose()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"-NOSCRIPT No matching script.\r\n", NoScriptError),
        (b"-OOM command not allowed\r\n", OutOfMemoryError),
        (b"-WRONGTYPE Operation against a key\r\n", ResponseError),
        (b"-READONLY You can't write against a read only replica.\r\n", RedisConnectionError),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", RedisConnectionError),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", InvalidResponse),
    ],
)
async def test_errors(said: bytes, error: type[RedisError]) -> None:
    """Each refusal has redis-py's class; one that only another server would not give ends the connection."""

    async def refuse(writer: asyncio.StreamWriter, _: list[bytes]) -> None:
        writer.write(said)

    async with talking_to(refuse) as (client, server):
        for _ in range(2):
            with pytest.raises(error):
                await client.eval("", 0)
        ends = error in {RedisConnectionError, InvalidResponse}
        assert server.connections == (2 if ends else 1)


async def test_an_answer_out_of_turn_ends_the_connection() -> None:
    """What nobody asked for is not the answer to the next question."""

    async def twice(writer: asyncio.StreamWriter, words: list[bytes]) -> None:
        writer.write(2 * (b"$%d\r\n%b\r\n" % (len(words[-1]), words[-1])))

    async with talking_to(twice) as (client, server):
        for text in ("a", "b", "c"):
            assert await client.eval("", 0, text) == text.encode()
        assert server.connections == 3


class Ended:
    """A connection whose transport has ended, which only a call on it finds out, as with uvloop."""

    place = "redis:6379"
    is_current = True

    def __init__(self) -> None:
        self.transport = self

    def give_away(self) -> Any:
        """Return itself as the stream."""
        return self

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        """Take the protocol."""

    def is_closing(self) -> bool:
        """Say that it goes on."""
        return False

    def write(self, data: bytes) -> None:
        """Find out."""
        raise RuntimeError("the handler is closed")

    def abort(self) -> None:
        """Do nothing more."""


async def test_a_transport_that_has_ended_is_a_lost_connection() -> None:
    """Uvloop says so with a RuntimeError, which would end the worker: nothing above expects one."""
    with pytest.raises(RedisConnectionError, match=r"redis:6379: the handler is closed"):
        await ScriptConnection(Ended(), 5.0).call(b"x")


async def test_a_server_that_ends_each_connection_at_once_is_away() -> None:
    """Whatever moment the end comes at, the command fails with what Redis' absence fails with."""

    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with await asyncio.start_server(end, "127.0.0.1", 0) as listening:
        client = connect(f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0")
        for _ in range(50):
            for command in (client.evalsha("0" * 40, 0), client.get("key")):
                with pytest.raises((RedisError, OSError)):
                    await command
        await client.aclose()
