"""Redis as people run it, seen by a worker's client: TLS, users, sockets, sentinels, servers that are not fit."""

import asyncio
import socket
import socketserver
import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from otpreport.address import read
from otpreport.connection import Connector
from otpreport.push import Unavailable
from tasks.keys import Keys
from tasks.queue.fitness import Unfit, check_fitness
from tests.support.admin import admin
from tests.support.command import call
from tests.support.dead import Undertaker
from tests.support.redis_servers import (
    PASSWORD,
    Sentinelled,
    TlsServer,
    add_user,
    debians,
    documented_rights,
    follow,
    needs_debians,
)
from tests.support.wait import coming, until
from worker.arrival import wait_for_redis
from worker.connect import MOST, connect
from worker.embedded import EmbeddedValkey, free_port
from worker.sentinels import ANSWER_TTL

KEYS = Keys("")
USER = "otpreport-worker"


@asynccontextmanager
async def client_of(url: str) -> AsyncGenerator[Any]:
    """Yield a worker's client; redis-py types its commands in part, here they are untyped."""
    client = connect(url)
    try:
        yield client
    finally:
        await client.aclose()


def worker_url(port: int, user: str = USER) -> str:
    """Return the URL with the user's password."""
    return f"redis://{user}:{PASSWORD}@127.0.0.1:{port}/0"


async def answer_in_time(client: Any, deadline: float = 60.0) -> None:
    """Ask until a write is accepted, as the engine does; AssertionError after `deadline` seconds."""
    async with asyncio.timeout(deadline):
        while True:
            try:
                await client.set("otpreport:test", "1")
            except RedisError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[TlsServer]:
    """Run a Redis that asks for TLS and a client's certificate."""
    found = TlsServer(tmp_path)
    with found.server:
        yield found


@needs_debians
async def test_tls(tls: TlsServer) -> None:
    """With the authority's certificate, and one of its own, a worker is let in, also to another database."""
    async with client_of(tls.url(database=3)) as client:
        await check_fitness(client, KEYS)
        info = await client.client_info()
        assert (info["laddr"], info["db"]) == (f"127.0.0.1:{tls.port}", 3)


@needs_debians
async def test_tls_without_certificate(tls: TlsServer) -> None:
    """Without a certificate of its own it is not, and may try again: this is no reason to end."""
    async with client_of(tls.url(certificate=False)) as client:
        with pytest.raises(RedisConnectionError):
            await check_fitness(client, KEYS)


@needs_debians
async def test_tls_with_a_missing_file(tls: TlsServer) -> None:
    """A certificate that is not there yet is told of by its error, and may come."""
    async with client_of(tls.url() + ".gone") as client:
        with pytest.raises(RedisConnectionError, match="No such file"):
            await check_fitness(client, KEYS)


class Monitor:
    """What a worker logs of the way to Redis."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def redis(self, error: RedisError | OSError | None, **more: object) -> None:
        """Note it."""
        self.said.append(str(error))


@needs_debians
@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("rediss://127.0.0.1:{plain}/0", "{plain} speaks no TLS: name its TLS port, or write redis://"),
        ("redis://127.0.0.1:{tls}/0", "{tls} speaks TLS: write rediss://"),
        (
            "sentinel://127.0.0.1:1,127.0.0.1:{plain}/orders?ssl=true",
            "{plain} speaks no TLS: leave out ssl=true",
        ),
        ("sentinel://127.0.0.1:{tls}/orders", "{tls} speaks TLS: add ssl=true"),
    ],
)
async def test_the_wrong_scheme(tls: TlsServer, url: str, fix: str) -> None:
    """Client, commands and workers say that the port speaks TLS, or none, where the fault reads like an outage."""
    ports = {"plain": tls.server.port, "tls": tls.port}
    url, named = (
        f"{url.format(**ports)}{'&' if '?' in url else '?'}socket_timeout=0.5",
        f"127.0.0.1:{fix}".format(**ports),
    )
    url += "&socket_connect_timeout=0.5"
    connector = Connector(url, timeout=0.5)
    with pytest.raises(Unavailable) as unavailable:
        await asyncio.to_thread(connector)
    assert unavailable.value.reason == named
    assert f"is unreachable: {named} (redis_url from " in (await asyncio.to_thread(call, url, "status")).line
    monitor = Monitor()
    async with client_of(url) as client:
        task = asyncio.create_task(wait_for_redis(client, KEYS, monitor, {}, read(url)))
        await coming(lambda: monitor.said)
        task.cancel()
    assert monitor.said == [named]


def test_an_outage_costs_no_second_connection(tmp_path: Path) -> None:
    """Whoever was connected once has the right scheme; only before that the port is asked for the other."""
    server = EmbeddedValkey(tmp_path / "valkey")
    known, new = (Connector(server.url, timeout=5.0) for _ in range(2))
    with server:
        known().close()
    with socket.create_server(("127.0.0.1", server.port)) as listener:
        taken = [0]
        threading.Thread(target=hang_up, args=(listener, taken), daemon=True).start()
        for connector, connections in ((known, 1), (new, 3)):
            with pytest.raises(Unavailable):
                connector()
            assert taken == [connections]
        listener.shutdown(socket.SHUT_RDWR)


def hang_up(listener: socket.socket, taken: list[int]) -> None:
    """Close each connection at once, and count it."""
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            taken[0] += 1
            connection.close()


async def test_socket_file(tmp_path: Path) -> None:
    """A Redis on a socket file is reached."""
    file = tmp_path / "redis.sock"
    with EmbeddedValkey(tmp_path / "valkey", options={"unixsocket": str(file)}):
        async with client_of(f"unix://{file}") as client:
            await check_fitness(client, KEYS)


# Who may do what.


@pytest.mark.parametrize("binary", ["valkey", pytest.param("redis-server", marks=needs_debians)])
async def test_documented_rights(tmp_path: Path, binary: str) -> None:
    """The rights in the docs are enough; less one of them, the one that lacks is named, before any event is leased."""
    server = debians(tmp_path) if binary == "redis-server" else EmbeddedValkey(tmp_path)
    with server:
        add_user(server.port, USER)
        async with client_of(worker_url(server.port)) as client:
            await check_fitness(client, KEYS)
        commands = [word[1:] for word in documented_rights(USER) if word.startswith("+")]
        for command in commands:
            # asked for with another database alone, for what it can do without (two), by the version before alone
            if command in {"select", "info", "memory|usage", "spop"}:
                continue
            with admin(server.port) as client:
                client.execute_command(
                    "ACL", "SETUSER", "less", "reset", *documented_rights(USER), f"-{command}"
                )
            async with client_of(worker_url(server.port, "less")) as client:
                with pytest.raises(Unfit, match=rf"(?i)\b{command}\b"):
                    await check_fitness(client, KEYS)


@pytest.mark.parametrize(
    "command",
    [
        "check",
        "status",
        "accounts list",
        "dead list",
        "dead stats",
        "dead replay --all --yes",
        "dead recall --all --yes",
        "dead progress",
        "dead purge --all --yes",
        "audit",
    ],
)
def test_rights_of_operators(valkey: redis.Redis, shared_valkey: EmbeddedValkey, command: str) -> None:
    """The commands of an operator do with the rights in the docs."""
    add_user(shared_valkey.port, "otpreport-operator")
    assert not admin(valkey).dbsize()
    Undertaker(shared_valkey.port).bury("tencent", 2)
    ran = call(worker_url(shared_valkey.port, "otpreport-operator"), *command.split())
    assert ran.status == (1 if command == "check" else 0), ran  # `check` finds what these tests leave out
    assert "forb" not in ran.out + ran.err


async def test_rights_to_other_keys(valkey_server: EmbeddedValkey) -> None:
    """A user whose rights end at another key prefix is told so."""
    add_user(valkey_server.port, USER, prefix="shop:")
    async with client_of(worker_url(valkey_server.port)) as client:
        await check_fitness(client, Keys("shop:"))
        with pytest.raises(Unfit, match="key"):
            await check_fitness(client, KEYS)


async def test_wrong_password(valkey_server: EmbeddedValkey) -> None:
    """A wrong password is no reason to end, for it may be the one of tomorrow; it is not shown."""
    url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{valkey_server.port}/0"
    async with client_of(url) as client:
        with pytest.raises(RedisError, match="invalid username") as caught:
            await check_fitness(client, KEYS)
    assert PASSWORD not in f"{caught.value!r}"


# Servers that can't hold the queue.


@needs_debians
@pytest.mark.parametrize("command", ["EVALSHA", "EVAL", "ZADD"])
async def test_renamed_command(tmp_path: Path, command: str) -> None:
    """A Redis from which a command was taken is not fit."""
    file = tmp_path / "redis.conf"
    file.write_text(f'rename-command {command} ""\n')
    with debians(tmp_path / "redis", include=str(file)) as server:
        async with client_of(server.url) as client:
            with pytest.raises(Unfit, match=command):
                await check_fitness(client, KEYS)


async def test_cluster(tmp_path: Path) -> None:
    """A cluster is not fit, with slots and without."""
    with EmbeddedValkey(
        tmp_path, options={"cluster-enabled": "yes", "cluster-port": str(free_port())}
    ) as server:
        async with client_of(server.url) as client:
            with pytest.raises(Unfit, match="cluster"):
                await check_fitness(client, KEYS)


async def test_database_that_is_not_there(valkey_server: EmbeddedValkey) -> None:
    """A database beyond the last is not there tomorrow, either."""
    async with client_of(f"redis://127.0.0.1:{valkey_server.port}/99") as client:
        with pytest.raises(Unfit, match="database"):
            await check_fitness(client, KEYS)


class Redis6(socketserver.StreamRequestHandler):
    """Answer scripts as Redis 6.2.5 did, word for word."""

    def handle(self) -> None:
        """Read commands until the client leaves."""
        while (line := self.rfile.readline()).startswith(b"*"):
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
            self.wfile.write(self.answers.get(words[0].upper(), b"+OK\r\n"))

    answers = {  # noqa: RUF012 - a table
        b"PING": b"+PONG\r\n",
        b"EVALSHA": b"-NOSCRIPT No matching script. Please use EVAL.\r\n",
        b"EVAL": b"-ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'\r\n",
    }


@contextmanager
def redis6() -> Generator[int]:
    """Serve what an old Redis says; yield the port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Redis6) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


async def test_old_server() -> None:
    """A Redis older than 7 is not fit, and the message says so."""
    with redis6() as port:
        async with client_of(f"redis://127.0.0.1:{port}") as client:
            with pytest.raises(Unfit, match="older than 7"):
                await check_fitness(client, KEYS)


async def test_replica(tmp_path: Path, valkey_server: EmbeddedValkey) -> None:
    """A replica may be promoted: it is no reason to end, and looking changes nothing."""
    with EmbeddedValkey(tmp_path / "replica") as server:
        follow(server.port, valkey_server.port)
        async with client_of(server.url) as client:
            with pytest.raises(RedisConnectionError, match="no master"):
                await check_fitness(client, KEYS)
        async with client_of(valkey_server.url) as client:
            await check_fitness(client, KEYS)
            assert await client.dbsize() == 0


# Masters come and go.


def demote(port: int) -> None:
    """Make a server the replica of one that is away."""
    with admin(port) as client:
        client.replicaof("127.0.0.1", 1)


async def test_demoted_master_is_left(valkey_server: EmbeddedValkey) -> None:
    """After READONLY the connection is closed: the next looks anew where the master is."""
    async with client_of(valkey_server.url) as client:
        before = await client.client_id()
        demote(valkey_server.port)
        with pytest.raises(RedisConnectionError, match="no master"):
            await client.set("otpreport:test", "1")
        assert await client.client_id() != before


async def test_demoted_master_is_kept_by_others(valkey_server: EmbeddedValkey) -> None:
    """Without that protection a client stays where it can't write (the negative control)."""
    untyped: Any = Redis.from_pool(BlockingConnectionPool(1, port=valkey_server.port))
    async with untyped as client:
        before = await client.client_id()
        demote(valkey_server.port)
        with pytest.raises(redis.ReadOnlyError):
            await client.set("otpreport:test", "1")
        assert await client.client_id() == before


async def test_master_cut_off(valkey_server: EmbeddedValkey) -> None:
    """A master that its replicas have left refuses writes, and is left, too."""
    with admin(valkey_server.port) as client:
        client.config_set("min-replicas-to-write", 1)
    async with client_of(valkey_server.url) as client:
        before = await client.client_id()
        with pytest.raises(RedisConnectionError, match="Not enough good replicas"):
            await client.set("otpreport:test", "1")
        assert await client.client_id() != before


async def test_sentinel(tmp_path: Path) -> None:
    """The sentinels' master is used, over few connections; after a failover all of them are to the new one."""
    with Sentinelled(tmp_path) as servers:
        async with client_of(servers.url) as client:
            await asyncio.gather(*(client.set(f"otpreport:{n}", n) for n in range(200)))
            assert clients(servers.master.port) <= MOST
            assert clients(servers.sentinel) == 1
            await asyncio.to_thread(servers.fail_over)
            async with asyncio.timeout(60):
                while clients(servers.master.port):
                    await answer_in_time(client)
                    await asyncio.gather(*(client.ping() for _ in range(20)), return_exceptions=True)
                    await asyncio.sleep(0.02)
            await answer_in_time(client)
            assert 1 <= clients(servers.replica.port) <= MOST
        until(lambda: clients(servers.replica.port) == clients(servers.sentinel) == 0)


@pytest.mark.compat
async def test_sentinel_after_a_crash(tmp_path: Path) -> None:
    """A master that died is replaced, and found."""
    with Sentinelled(tmp_path) as servers:
        async with client_of(servers.url) as client:
            await client.set("otpreport:before", "1")
            await client.wait(1, 5000)
            servers.master.kill()
            await answer_in_time(client)
            assert await client.get("otpreport:before") == b"1"


@pytest.mark.compat
async def test_all_connections_leave_the_old_master(tmp_path: Path) -> None:
    """When the sentinels name another master, no connection stays at the old one, although it lives on."""
    with Sentinelled(tmp_path) as servers, EmbeddedValkey(tmp_path / "other") as other:
        async with client_of(servers.url) as client:
            await asyncio.gather(*(client.ping() for _ in range(50)))
            name_another(servers.sentinel, other.port)
            async with asyncio.timeout(60):
                while clients(servers.master.port):
                    await asyncio.gather(*(client.ping() for _ in range(50)))
                    await asyncio.sleep(0.02)
            assert 1 <= clients(other.port) <= MOST


@pytest.mark.compat
async def test_old_master_is_kept_when_sentinels_are_not_asked_again(tmp_path: Path) -> None:
    """Without asking again a client stays at a master that was replaced and lives on (the negative control)."""
    with Sentinelled(tmp_path) as servers, EmbeddedValkey(tmp_path / "other") as other:
        async with client_of(servers.url) as client:
            await asyncio.gather(*(client.ping() for _ in range(50)))
            client.connection_pool.connection_kwargs["sentinels"]._fresh = 3600.0
            name_another(servers.sentinel, other.port)
            await asyncio.sleep(3 * ANSWER_TTL)  # the time in which the test above sees them leave
            await asyncio.gather(*(client.ping() for _ in range(50)))
            assert clients(other.port) == 0


@pytest.mark.compat
async def test_sentinels_that_are_gone_take_nothing_away(tmp_path: Path) -> None:
    """While no sentinel answers, the connections there are go on."""
    with Sentinelled(tmp_path) as servers:
        async with client_of(servers.url) as client:
            before = await client.client_id()
            servers.stop_sentinel()
            client.connection_pool.connection_kwargs["sentinels"]._fresh = 0.0
            for _ in range(50):
                await client.ping()
                await asyncio.sleep(0.001)
            assert await client.client_id() == before


def name_another(sentinel: int, port: int) -> None:
    """Let the sentinel name another master, while the old one lives on."""
    with admin(sentinel) as client:
        client.sentinel_remove("orders")
        client.sentinel_monitor("orders", "127.0.0.1", port, 1)


def strangers(client: redis.Redis) -> list[dict[str, str]]:
    """Return the server's clients that are neither replicas nor sentinels nor this one."""
    untyped = admin(client)
    own = untyped.client_id()
    found: list[dict[str, str]] = untyped.client_list(_type="normal")
    return [row for row in found if int(row["id"]) != own and not row["name"].startswith("sentinel-")]


def clients(port: int) -> int:
    """Count a server's clients."""
    with admin(port) as client:
        return len(strangers(client))


async def test_no_sentinel_knows() -> None:
    """When none answers, each is named with what it said, and no password."""
    async with client_of(f"sentinel://:{PASSWORD}@127.0.0.1:1,127.0.0.1:2/orders") as client:
        with pytest.raises(
            RedisConnectionError, match=r"'orders' \(127.0.0.1:1: .*; 127.0.0.1:2: "
        ) as caught:
            await client.ping()
    assert PASSWORD not in f"{caught.value!r}"


@pytest.mark.compat
async def test_sentinel_that_watches_another(tmp_path: Path) -> None:
    """A sentinel that does not know the service says so."""
    with Sentinelled(tmp_path) as servers:
        async with client_of(servers.url.replace("orders", "payments")) as client:
            with pytest.raises(RedisConnectionError, match="watches no such master"):
                await client.ping()


def test_wrong_url() -> None:
    """A wrong URL is refused in words that hold no part of it."""
    with pytest.raises(ValueError, match="redis_url") as caught:
        connect(f"redis://:{PASSWORD}@host:port/0")
    assert PASSWORD not in str(caught.value)


def test_a_door_without_a_lock_is_told(valkey: redis.Redis, shared_valkey: EmbeddedValkey) -> None:
    """Users with passwords help little while anybody is `default`: `check` warns until that is off."""
    add_user(shared_valkey.port, "otpreport-operator")
    ran = call(worker_url(shared_valkey.port, "otpreport-operator"), "check", "--json")
    [found] = [finding for finding in ran.json["findings"] if finding["name"] == "access"]
    assert (found["level"], found["text"]) == ("warn", "no password is required")


@pytest.mark.parametrize("binary", ["valkey", pytest.param("redis-server", marks=needs_debians)])
def test_a_user_who_may_do_everything_is_told(tmp_path: Path, binary: str) -> None:
    """`check` warns of a user with rights that nothing here needs, and of none whose rights stand in the docs."""
    server = debians(tmp_path) if binary == "redis-server" else EmbeddedValkey(tmp_path)

    def rights(url: str) -> tuple[str, str]:
        findings = call(url, "check", "--json").json["findings"]
        [found] = [finding for finding in findings if finding["name"] == "rights"]
        return found["level"], found["text"]

    with server, admin(server.port) as client:
        assert rights(server.url)[0] == "note"  # no users, and nobody else reaches it
        add_user(server.port, "otpreport-operator")
        assert rights(worker_url(server.port, "otpreport-operator"))[0] == "ok"
        for more, named in (
            ("+@all ~*", "FLUSHALL, SHUTDOWN, CONFIG SET, GET of any key"),
            ("+config|set", "CONFIG SET"),
            ("~*", "GET of any key"),
        ):
            client.execute_command(
                "ACL", "SETUSER", "all", "reset", *documented_rights("otpreport-operator"), *more.split()
            )
            found = rights(worker_url(server.port, "all"))
            assert found == ("warn", f"its user has rights that are never needed: {named}")
        client.execute_command("CONFIG", "SET", "requirepass", PASSWORD)
        level, text = rights(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0")
        assert (level, "FLUSHALL" in text) == ("warn", True)
