"""Who only looks on, the exporter and `status`, needs no provider's key and may write nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.settings import load
from tasks.fleet.deployment import Deployment
from tasks.keys import Keys
from tests.integration.test_exporter import exporter, get, scrape
from tests.support.admin import admin
from tests.support.command import Ran, call, call_in, environment
from tests.support.dead import Undertaker
from tests.support.redis_servers import PASSWORD, add_user, debians, documented_rights, needs_debians
from tests.support.wait import until
from worker.deployment import deployment_of
from worker.embedded import EmbeddedValkey
from worker.fleet.exporter import Exporter

USER = "otpreport-exporter"
GROUP = "tencent:127.0.0.1:9:0123456789ab"


def without_keys(url: str, *, accounts: bool = True) -> dict[str, str]:
    """Return a command's environment with no key in it, and with the accounts' other settings or without."""
    whole = environment(url)
    gone = ("SECRET", "KEY") if accounts else ("ACCOUNTS",)
    return {name: value for name, value in whole.items() if not any(word in name for word in gone)}


def url_of(server: EmbeddedValkey) -> str:
    """Return where the user who only looks on gets in."""
    return f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}/0"


def look(server: EmbeddedValkey, *command: str, accounts: bool = True) -> Ran:
    """Run a command as that user, without keys."""
    return call_in(without_keys(url_of(server), accounts=accounts), *command)


@pytest.fixture(params=["valkey", pytest.param("redis-server", marks=needs_debians)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """Run a server with the user, some dead letters and events, and a queue that nobody serves."""
    made = debians(tmp_path) if request.param == "redis-server" else EmbeddedValkey(tmp_path)
    with made as running:
        add_user(running.port, USER)
        undertaker = Undertaker(running.port)
        undertaker.bury("tencent", 2)
        undertaker.send("tencent", 3)
        undertaker.send("tencnet", 1)
        yield running


def announce(server: EmbeddedValkey) -> None:
    """Let workers have told of their accounts, as presence.lua does."""
    keys, told = Keys(""), deployment_of(load(environment(server.url)))
    with admin(server.port) as client:
        client.zadd(keys.deployments, {told.digest: 1})
        client.hset(keys.deployment(told.digest), mapping=told.encode())


def group_of_tencent(server: EmbeddedValkey) -> None:
    """Let a worker have entered the group that its key had before."""
    with admin(server.port) as client:
        client.hset(Keys("").groups, "@tencent", GROUP)
        client.hset(Keys("").rate(GROUP), "override", "7")


def test_status_without_keys(server: EmbeddedValkey) -> None:
    """It shows what it shows with keys, by the groups that stand in Redis, as a user who may read alone."""
    group_of_tencent(server)
    seen = look(server, "status", "--json")
    assert seen.status == 0, seen.err
    tencent, alibaba = seen.json["accounts"][:2]
    assert (tencent["account"], tencent["ready"], tencent["dead"]) == ("tencent", 3, 2)
    assert (tencent["rate_effective"], alibaba["rate_effective"]) == (7, 500)
    assert (seen.json["faults"], seen.json["unserved"]) == ([], {"tencnet": 1})
    for command in ("accounts list", "status"):
        assert look(server, *command.split()).status == 0


def test_status_without_accounts(server: EmbeddedValkey) -> None:
    """Without a single account in its settings it goes by those that workers told of, and says so where none did."""
    nobody = look(server, "status", accounts=False)
    assert (nobody.status, "no worker has announced" in nobody.line) == (1, True)
    announce(server)
    found = look(server, "accounts", "list", "--json", accounts=False).json
    with_all = call(server.url, "accounts", "list", "--json").json
    assert found == sorted(with_all, key=lambda row: row["account"])


def test_exporter_without_keys(server: EmbeddedValkey) -> None:
    """The exporter starts and shows every figure, as a user who may read alone."""
    group_of_tencent(server)
    with exporter(url_of(server), **dict.fromkeys(environment("").keys() & _keys(), "")) as (port, _):
        until(lambda: ("unserved_queue_events",) in scrape(port))
        samples = scrape(port)
        assert get(port, "/readyz")[0] == 200
    assert samples["queue_events", "tencent", "ready"] == 3
    assert samples["rate_limit_per_second", "tencent", "effective"] == 7
    assert samples["redis_memory_bytes", "used"] > 0
    assert samples["unserved_queue_events",] == 1


def test_exporter_without_accounts(server: EmbeddedValkey) -> None:
    """The accounts that the workers tell of are taken over while it runs."""
    announce(server)
    blank = {name: "" for name in environment("") if "ACCOUNTS" in name}
    with exporter(url_of(server), **blank) as (port, _):
        until(lambda: ("queue_events", "tencent", "ready") in scrape(port))
        samples = scrape(port)
    assert samples["event_max_age_seconds", "tencent"] == 86_400
    assert samples["rate_limit_per_second", "alibaba", "configured"] == 500


async def test_accounts_outlive_those_who_told_of_them(valkey_server: EmbeddedValkey) -> None:
    """An exporter without accounts of its own goes on to show those it heard of, though no worker is left to tell."""
    undertaker = Undertaker(valkey_server.port)
    announce(valkey_server)
    bare = without_keys(valkey_server.url, accounts=False) | {"OTPREPORT_METRICS_PORT": "0"}
    found = Exporter(load(bare, keyless=True), interval=0.02, scan_interval=0.0)
    port = await found.start()
    running = asyncio.create_task(found.run())

    def send_and_see(events: int) -> None:
        undertaker.send("tencent", 1)
        until(lambda: scrape(port).get(("queue_events", "tencent", "ready")) == events)

    try:
        await asyncio.to_thread(send_and_see, 1)
        with admin(valkey_server.port) as client:
            client.delete(Keys("").deployments)
        for events in (2, 3):  # the second is seen after a search that found nobody
            await asyncio.to_thread(send_and_see, events)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await found.stop()


@pytest.mark.parametrize(
    "command", ["accounts pause tencent --reason x", "accounts rate tencent 5", "dead purge --all --yes"]
)
def test_nothing_can_be_changed(server: EmbeddedValkey, command: str) -> None:
    """A command that changes something ends with one line that names user and right, and changes nothing."""
    before = _everything(server)
    ran = call(url_of(server), *command.split())
    assert ran.status == 2
    assert "forbids user otpreport-exporter access to otpreport.* and otpreport:*" in ran.line
    assert _everything(server) == before


def test_no_way_to_write(server: EmbeddedValkey) -> None:
    """Whatever that user sends, by itself or in a script, with keys named or not, leaves Redis as it was."""
    before = _everything(server)
    key = Keys("").account("tencent")
    untyped: Any = redis.Redis
    with untyped.from_url(url_of(server)) as client:
        for words in (
            ("HSET", key, "state", "held"),
            ("DEL", key),
            ("FLUSHALL",),
            ("EVAL", "return redis.call('HSET', KEYS[1], 'state', 'held')", 1, key),
            ("EVAL", "return redis.call('HSET', ARGV[1], 'state', 'held')", 0, key),
            ("CONFIG", "SET", "maxmemory", "1"),
            ("GET", "another"),
        ):
            with pytest.raises(redis.ResponseError):
                client.execute_command(*words)
    assert _everything(server) == before


def test_rights_that_a_script_lacks_are_named(server: EmbeddedValkey) -> None:
    """A user who may write to the keys, but lacks a command, is told which one, and with status 2."""
    with admin(server.port) as client:
        client.execute_command(
            "ACL", "SETUSER", USER, "reset", *documented_rights("otpreport-operator"), "-hset"
        )
    ran = call(url_of(server), "accounts", "pause", "tencent", "--reason", "x")
    assert ran.status == 2
    assert "forbids user otpreport-exporter a command of a script" in ran.line


def test_workers_tell_enough(server: EmbeddedValkey) -> None:
    """What an older worker tells, without its MAX_AGE, is enough; what says too little is left out."""
    told = deployment_of(load(environment(server.url))).accounts
    older = {name: value for name, value in told["tencent"].items() if name != "max_age"}
    odd = {"tencent": older, "half": {"provider": "tencent"}, "other": older | {"provider": "nobody"}}
    with admin(server.port) as client:
        client.zadd(Keys("").deployments, {"x": 1})
        client.hset(Keys("").deployment("x"), mapping=Deployment(odd).encode())
    assert [row["account"] for row in look(server, "accounts", "list", "--json", accounts=False).json] == [
        "tencent"
    ]


def _keys() -> set[str]:
    return {name for name in environment("") if "SECRET" in name or "KEY" in name}


def _everything(server: EmbeddedValkey) -> dict[bytes, bytes | None]:
    with admin(server.port) as client:
        found: list[bytes] = client.keys()
        return {key: client.dump(key) for key in found}


def test_no_right_too_many(valkey_server: EmbeddedValkey) -> None:
    """Less one of the rights in the docs, a command names the one that lacks; nothing else is missed."""
    add_user(valkey_server.port, USER)
    undertaker = Undertaker(valkey_server.port)
    undertaker.bury("tencent", 1)
    buried = undertaker.last.message_id
    undertaker.send("tencnet", 1)
    announce(valkey_server)
    looks_for = dict.fromkeys(("hscan", "lrange", "sismember"), "nowhere") | {"zscore": buried}
    rights = documented_rights(USER)
    for command in (word[1:] for word in rights if word.startswith("+")):
        # asked for by a health check, another database, the memory's metric, and to see whether Redis takes writes
        if command in {"ping", "select", "info", "eval"}:
            continue
        with admin(valkey_server.port) as client:
            client.execute_command("ACL", "SETUSER", USER, "reset", *rights, f"-{command}")
            client.execute_command("SCRIPT", "FLUSH")
        if command in looks_for:
            ran = look(valkey_server, "find", looks_for[command])
            said = ran.out + ran.err
        else:
            ran = look(valkey_server, "status", "--json")
            said = ran.err if ran.status else str(ran.json["faults"])
        assert f"'{command}'" in said, (command, ran)
