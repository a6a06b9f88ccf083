"""The command line itself: helps, statuses, masking."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import SecretStr
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as NotConnected
from redis.sentinel import MasterNotFoundError

from config.settings import Settings, load
from worker.cli.app import app
from worker.cli.check import credentials, is_try_out, masked_url
from worker.cli.errors import NO, WRONG, CommandError
from worker.cli.run import chosen
from worker.cli.session import refusal
from worker.fleet.checks import Finding, Level, worst

SECRET = "the-secret-itself"


def settings(url: str = "redis://127.0.0.1:6379/0") -> Settings:
    """Return settings with one account of each credential form."""
    return load(
        {
            "OTPREPORT_REDIS_URL": url,
            "OTPREPORT_ACCOUNTS__TENCENT__PROVIDER": "tencent",
            "OTPREPORT_ACCOUNTS__TENCENT__SECRET_ID": "AKIDEXAMPLEEXAMPLE0001",
            "OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY": SECRET,
            "OTPREPORT_ACCOUNTS__TENCENT__SDK_APP_ID": "1400000001",
            "OTPREPORT_ACCOUNTS__ALI__PROVIDER": "alibaba",
            "OTPREPORT_ACCOUNTS__ALI__ACCESS_KEY_ID": "short",
            "OTPREPORT_ACCOUNTS__ALI__ACCESS_KEY_SECRET": SECRET,
            "OTPREPORT_ACCOUNTS__ALI__SECURITY_TOKEN": SECRET,
        }
    )


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command with its path."""
    todo: list[tuple[str, Any]] = [("", typer.main.get_command(app))]
    while todo:
        path, command = todo.pop()
        nested: dict[str, Any] = getattr(command, "commands", {})
        todo += [(f"{path} {name}".strip(), each) for name, each in nested.items()]
        if not nested:
            yield path, command


def test_the_commands_are_those_of_the_design() -> None:
    """No command is missing."""
    assert sorted(path for path, _ in commands()) == [
        "accounts list",
        "accounts pause",
        "accounts purge",
        "accounts rate",
        "accounts resume",
        "audit",
        "check",
        "conversion",
        "dead export",
        "dead import",
        "dead list",
        "dead progress",
        "dead purge",
        "dead recall",
        "dead replay",
        "dead show",
        "dead stats",
        "demo",
        "exporter",
        "find",
        "ready",
        "run",
        "send",
        "simulate",
        "status",
    ]


@pytest.mark.parametrize(("path", "command"), list(commands()))
def test_every_command_has_a_sentence_and_an_example(path: str, command: Any) -> None:
    """The help says what it does, whole in the list of commands, and how to call it."""
    summary = command.help.splitlines()[0]
    assert summary.endswith(".")
    assert len(summary) <= 60
    assert f"otpreport {path}" in command.epilog


def test_a_usage_has_no_braces() -> None:
    """An argument is written as it is in the text below, whatever the version of typer does."""
    for path, command in commands():
        usage = command.get_usage(command.make_context(path, ["--help"], resilient_parsing=True))
        assert not set("{}") & set(usage), usage


def test_the_readme_names_every_command() -> None:
    """Its table has a row for each command, or for each group with all of its commands."""
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    rows = [row.split("|")[1] for row in readme.splitlines() if row.startswith("| `")]
    for path, _ in commands():
        group, _, name = path.rpartition(" ")
        named = [row for row in rows if row.startswith(f" `{group or name}")]
        assert any(re.search(rf"[` ]{name}[` ]", row) for row in named), path


def test_secrets_are_masked() -> None:
    """No secret is shown, a key's id only in part, and the rest as it is."""
    accounts = settings().accounts
    assert credentials(accounts["tencent"]) == {
        "secret_id": "AKID...0001",
        "secret_key": "********",
        "sdk_app_id": "1400000001",
        "region": "ap-singapore",
    }
    assert credentials(accounts["ali"]) == dict.fromkeys(
        ("access_key_id", "access_key_secret", "security_token"), "********"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:pa%40ss@host/1", "redis://:********@host/1"),
        ("rediss://op:pass@host:1/1?ssl_ca_certs=x", "rediss://op:********@host:1/1"),
        ("sentinel://op:pass@a:1,b:2/main", "sentinel://op:********@a:1,b:2/main"),
        ("sentinel://a:1/main?sentinel_password=pass", "sentinel://a:1/main"),
    ],
)
def test_the_password_of_redis_is_masked(url: str, shown: str) -> None:
    """The user and the place are shown, the password and the options are not."""
    assert masked_url(SecretStr(url)) == shown


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (NotConnected("Error 111\nrefused"), NO, "is unreachable: Error 111 refused"),
        (AuthenticationError("WRONGPASS"), WRONG, "refuses the user or password (WRONGPASS)"),
        (NoPermissionError("no permission for evalsha"), WRONG, "forbids user op a command"),
        (ResponseError("Error compiling script (new function): '#'"), WRONG, "too old: 7 or newer is needed"),
        (ResponseError("MISCONF"), NO, "refuses: MISCONF"),
        (ResponseError("DB index is out of range"), WRONG, "has no such database (DB index is out of range)"),
        (
            InvalidResponse("Protocol error"),
            NO,
            "does not answer as Redis does (Protocol error): check the port",
        ),
    ],
)
def test_what_redis_refuses_is_one_line_without_its_password(
    error: RedisError, status: int, said: str
) -> None:
    """The line says where and what; wrong settings are 2, everything else 1."""
    stop = refusal(settings(f"redis://op:{SECRET}@host:1/0"), error)
    assert stop.status == status
    assert len(stop.lines) == 1
    assert stop.lines[0].startswith("redis at redis://host:1/0 ")
    assert said in stop.lines[0]
    assert SECRET not in stop.lines[0]
    assert "\n" not in stop.lines[0]


def test_an_unreachable_redis_is_named_with_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever set the wrong one of several sees which is in force."""
    monkeypatch.setenv("OTPREPORT_REDIS_URL", "redis://host:1/0")
    stop = refusal(settings("redis://host:1/0"), NotConnected("refused"))
    assert stop.lines == (
        "redis at redis://host:1/0 is unreachable: refused (redis_url from OTPREPORT_REDIS_URL)",
    )


def test_sentinels_that_know_no_master_are_one_short_line() -> None:
    """redis-py's own words hold every connection pool; ours are the place and the service."""
    error = MasterNotFoundError("No master found for 'main' : Redis<redis.connection.ConnectionPool(...)>")
    stop = refusal(settings(f"sentinel://op:{SECRET}@a:1,b:2/main/0"), error)
    where = "redis at sentinel://a:1,b:2/main/0 is unreachable"
    assert (stop.status, stop.lines) == (
        NO,
        (f"{where}: no sentinel knows a live master 'main' (redis_url)",),
    )


def test_run_serves_all_accounts_or_those_named() -> None:
    """A name that is not configured is refused, with the one that was meant."""
    configured = {"tencent", "alibaba"}
    assert chosen("", configured) == ["alibaba", "tencent"]
    assert chosen("tencent", configured) == ["tencent"]
    assert chosen(" tencent , alibaba,", configured) == ["tencent", "alibaba"]
    with pytest.raises(CommandError, match=r"--accounts tencnet: no such account: did you mean tencent\?"):
        chosen("tencnet", configured)
    for text in (",", " ", " , "):
        with pytest.raises(
            CommandError, match=f"--accounts '{text}' names no account: use some of alibaba, tencent"
        ):
            chosen(text, configured)


def test_the_worst_finding_decides() -> None:
    """Levels are ordered by how much they matter."""
    levels = [Level.NOTE, Level.FAIL, Level.WARN, Level.OK]
    assert worst(Finding("x", level, "") for level in levels) is Level.FAIL
    assert worst(Finding("x", level, "") for level in levels if level is not Level.FAIL) is Level.WARN
    assert worst([]) is Level.OK


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1:6379/0", True),
        ("redis://localhost", True),
        ("redis://[::1]:6379", True),
        ("unix:///run/redis.sock", True),
        ("redis://redis:6379/0", False),
        ("redis://10.0.0.1", False),
        ("redis://:password@127.0.0.1", False),
        ("redis://op:password@127.0.0.1", False),
        ("sentinel://127.0.0.1/orders", False),
    ],
)
def test_a_try_out_has_no_users_and_no_strangers(url: str, *, expected: bool) -> None:
    """Only of a Redis on this machine, named without a user, an open door is a note and no warning."""
    assert is_try_out(url) is expected
