"""`check` against servers that are fit, unfit, silent and none."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.retry import Reason
from tests.support.admin import admin
from tests.support.command import SECRET, call, run
from tests.support.dead import REFUSED, Death, Undertaker
from tests.support.resp import fake_redis
from tests.support.wait import until
from worker.embedded import EmbeddedValkey, free_port


def levels(ran_json: dict[str, Any]) -> dict[str, str]:
    """Return the worst level of each finding's name."""
    order = ["ok", "note", "warn", "fail"]
    found: dict[str, str] = {}
    for finding in ran_json["findings"]:
        name, level = finding["name"], finding["level"]
        found[name] = max(found.get(name, "ok"), level, key=order.index)
    return found


def test_a_fit_redis_passes(valkey_server: EmbeddedValkey) -> None:
    """AOF always and noeviction: status 0, every secret masked, nothing on standard error."""
    ran = call(valkey_server.url, "check")
    assert (ran.status, ran.err) == (0, "")
    assert "AKID...0001" in ran.out
    assert "********" in ran.out
    assert ran.out.endswith("\n\n0 warnings, 0 errors: exit status 0\n")
    assert not [line for line in ran.out.splitlines() if line != line.rstrip()]
    as_json = call(valkey_server.url, "check", "--json")
    assert as_json.json["ok"] is True
    assert levels(as_json.json) == {
        "redis": "ok",
        "server": "ok",
        "clock": "ok",
        "access": "note",
        "rights": "note",
        "durability": "ok",
        "eviction": "ok",
        "memory": "ok",
        "books": "ok",
        "workers": "note",
    }
    [tencent, _] = as_json.json["accounts"]
    assert tencent["options"]["secret_key"] == "********"


def test_an_otp_that_is_nowhere_is_told(valkey_server: EmbeddedValkey) -> None:
    """One that was sent and is neither open nor closed makes the books a warning."""
    with redis.Redis(port=valkey_server.port) as client:
        client.hset("otpreport:otps:tencent", "SG:sent", "1")
    ran = call(valkey_server.url, "check", "--json")
    assert levels(ran.json)["books"] == "warn"
    assert "1 OTPs are unaccounted for" in str(ran.json)


@pytest.mark.parametrize(
    ("options", "finding", "level", "status"),
    [
        ({"appendonly": "no"}, "durability", "warn", 1),
        ({"appendfsync": "no"}, "durability", "warn", 1),
        ({"appendfsync": "everysec"}, "durability", "note", 0),
        ({"maxmemory-policy": "allkeys-lru"}, "eviction", "warn", 1),
        ({"maxmemory-policy": "volatile-ttl", "maxmemory": "100mb"}, "eviction", "warn", 1),
        ({"maxmemory": "100kb"}, "room", "warn", 1),
    ],
)
def test_a_redis_that_may_lose_events_is_told(
    tmp_path: Path, options: dict[str, str], finding: str, level: str, status: int
) -> None:
    """What would lose events in a restart or when it is full needs a look."""
    with EmbeddedValkey(tmp_path / "valkey", options=options) as server:
        ran = call(server.url, "check", "--json")
        lines = call(server.url, "check").out.splitlines()
    assert levels(ran.json)[finding] == level
    assert ran.status == status
    assert lines[-1] == f"{'1 warning' if status else '0 warnings'}, 0 errors: exit status {status}"


def test_a_redis_that_lost_its_memory_is_told(url: str, valkey: redis.Redis) -> None:
    """A worker found it, and what was done by hand may be undone; a day later it is no news."""
    now = admin(valkey).time()[0] * 1000
    for ago, level in ((3000, "warn"), (90_000_000, "ok")):
        valkey.hset(
            "otpreport:maintenance", mapping={"lost_at_ms": now - ago, "lost_by_hand": "tencent paused"}
        )
        assert levels(call(url, "check", "--json").json)["memory"] == level
    status = call(url, "status", "--json").json
    assert status["memory"]["lost_at_ms"] == now - 90_000_000


def test_a_worker_whose_clock_is_off_is_told(url: str, valkey: redis.Redis) -> None:
    """It says so itself, and `check` and `status` show it; one that is gone is nobody's concern."""
    for worker, lease in (("ahead", 9e12), ("gone", 1)):
        valkey.zadd("otpreport:workers", {worker: lease})
        valkey.hset(f"otpreport:worker:{worker}", "note", '{"host": "h", "redis_ahead": -90000}')
    off = [one["text"] for one in call(url, "check", "--json").json["findings"] if one["name"] == "clock"]
    assert "the clock of worker ahead on h is 90000 s ahead of Redis'" in off
    assert len(off) == 2
    assert "the clock of worker ahead on h is" in call(url, "status").out


def test_a_newer_format_is_for_a_newer_version(url: str, valkey: redis.Redis) -> None:
    """This one's commands do nothing, and say why; `check` has it among its findings."""
    valkey.hset("otpreport:maintenance", "format", 99)
    assert levels(call(url, "check", "--json").json)["memory"] == "fail"
    ran = call(url, "dead", "list")
    assert ran.status == 2
    assert "its data is of a newer version (format 99" in ran.line


def test_the_advice_on_the_append_only_file_costs_nothing(tmp_path: Path) -> None:
    """As it is said, what was there stays; the control: with it in the file alone Redis starts empty."""
    for as_told, left in ((True, 1), (False, 0)):
        folder = tmp_path / str(as_told)
        with (
            EmbeddedValkey(folder, options={"appendonly": "no", "save": "3600 1000000"}) as server,
            admin(server.port) as client,
        ):
            client.lpush("otpreport.tencent", "waiting")
            [found] = [
                one
                for one in call(server.url, "check", "--json").json["findings"]
                if one["name"] == "durability"
            ]
            assert found["fix"].startswith("first `CONFIG SET appendonly yes`")
            if as_told:
                client.config_set("appendonly", "yes")
                until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
        with EmbeddedValkey(folder) as server, admin(server.port) as client:
            assert client.llen("otpreport.tencent") == left


def test_a_redis_that_is_not_there_is_one_line() -> None:
    """Status 1: the same command may succeed later."""
    ran = run(f"redis://:{SECRET}@127.0.0.1:{free_port()}/0", "check")
    assert ran.status == 1
    assert "is unreachable" in ran.line


def test_a_server_of_another_kind_is_one_line() -> None:
    """A port that hangs up at once is no Redis."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # the listener was shut down
                while True:
                    listener.accept()[0].close()

        server = threading.Thread(target=hang_up, daemon=True)
        server.start()
        ran = call(f"redis://127.0.0.1:{listener.getsockname()[1]}/0", "check")
        listener.shutdown(socket.SHUT_RDWR)
        server.join(timeout=20)
    assert ran.status == 1
    assert "is unreachable" in ran.line


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (
            {"redis_version": "6.2.14", "redis_mode": "standalone", "role": "master"},
            "Redis 6.2.14 is too old",
        ),
        ({"redis_version": "7.2.4", "redis_mode": "cluster", "role": "master"}, "is a cluster"),
        ({"redis_version": "7.2.4", "redis_mode": "standalone", "role": "slave"}, "is a replica"),
    ],
)
def test_a_redis_that_will_not_do_is_told_before_any_script(info: dict[str, str], said: str) -> None:
    """An old server can't even read the scripts: it is refused by its version, status 2."""
    with fake_redis(**info) as port:
        ran = call(f"redis://127.0.0.1:{port}/0", "check")
    assert ran.status == 2
    assert ran.err == ""
    assert [line for line in ran.out.splitlines() if line.startswith("fail")] == [
        line for line in ran.out.splitlines() if said in line
    ]


def test_a_wrong_password_is_a_wrong_setting(valkey_server: EmbeddedValkey) -> None:
    """Status 2, and neither the line nor the JSON shows what was tried."""
    url = f"redis://op:{SECRET}@127.0.0.1:{valkey_server.port}/0"
    ran = call(url, "check")
    assert ran.status == 2
    assert "refuses the user or password" in ran.line
    as_json = call(url, "check", "--json")
    assert (as_json.status, as_json.json["ok"]) == (2, False)


def test_what_a_user_may_not_ask_is_said_not_guessed(valkey_server: EmbeddedValkey) -> None:
    """Managed servers forbid CONFIG, and some INFO: the check goes on with the rest."""
    with redis.Redis(port=valkey_server.port) as client:
        untyped: Any = client
        untyped.acl_setuser("noconfig", enabled=True, nopass=True, keys="*", commands=["+@all", "-config"])
        untyped.acl_setuser("noinfo", enabled=True, nopass=True, keys="*", commands=["+@all", "-info"])
    ran = call(f"redis://noconfig:x@127.0.0.1:{valkey_server.port}/0", "check", "--json")
    assert (levels(ran.json)["access"], levels(ran.json)["durability"]) == ("warn", "note")
    assert "CONFIG GET is forbidden" in ran.out
    ran = call(f"redis://noinfo:x@127.0.0.1:{valkey_server.port}/0", "check", "--json")
    found = levels(ran.json)
    assert (found["server"], found["durability"], found["eviction"], found["books"]) == (
        "note",
        "note",
        "note",
        "ok",
    )


def test_a_user_without_scripts_is_a_wrong_setting(valkey_server: EmbeddedValkey) -> None:
    """The workers could do nothing as this user: status 2."""
    with redis.Redis(port=valkey_server.port) as client:
        untyped: Any = client
        untyped.acl_setuser(
            "noscript", enabled=True, nopass=True, keys="*", commands=["+@all", "-@scripting"]
        )
    ran = call(f"redis://noscript:x@127.0.0.1:{valkey_server.port}/0", "check")
    assert ran.status == 2
    assert "a command: " in ran.line


def test_what_needs_a_look_in_redis_is_told(valkey_server: EmbeddedValkey) -> None:
    """A stopped account with its cause, a queue that nobody serves, books with a gap."""
    undertaker = Undertaker(valkey_server.port)
    undertaker.send("tencnet", 3)
    undertaker.bury("tencent", 50, Death(Reason.PERMANENT, (REFUSED,)))
    with redis.Redis(port=valkey_server.port) as client:
        client.hincrby(undertaker.keys.books, "alibaba:taken", 1)
    ran = call(valkey_server.url, "check", "--json")
    found = levels(ran.json)
    assert ran.status == 1
    assert (found["accounts"], found["queues"], found["books"]) == ("warn", "warn", "warn")
    assert "tencent is refused by its provider since " in ran.out
    assert "UTC: permanent_run: 50 events in a row were refused, the last: " in ran.out
    assert "otpreport dead stats --account tencent" in ran.out
    assert "no worker serves tencnet: 3 events wait" in ran.out
    assert "1 of 51 events are unaccounted for" in ran.out


def test_wrong_settings_are_a_line_each() -> None:
    """Status 2 before anything connects."""
    ran = run(
        None, "check", env={"OTPREPORT_CONCURRENCY": "0", "OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY": ""}
    )
    assert (ran.status, ran.out) == (2, "")
    assert sorted(line.split()[0] for line in ran.err.splitlines()) == [
        "accounts.tencent.secret_key",
        "concurrency",
        "redis_url",
    ]
    assert "redis_url is missing: set OTPREPORT_REDIS_URL\n" in ran.err
