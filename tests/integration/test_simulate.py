"""`simulate`: what it prints is all that a worker needs to report to it."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from providers.base import fingerprint
from providers.registry import REGISTRY
from simulator.settings import EXAMPLE, Key, Settings, load, parse
from tests.support.command import run
from tests.support.provider_samples import SAMPLES, Sample
from tests.support.worker_process import ROOT
from worker.cli.simulate import accounts_for
from worker.embedded import EmbeddedValkey

SIMULATE = [sys.executable, "-u", "-m", "worker", "simulate"]
ACCOUNTS = accounts_for(load(EXAMPLE), "http://127.0.0.1:1").values()
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}


@contextmanager
def simulate(output: int, *arguments: str, errors: int | None = None) -> Generator[subprocess.Popen[bytes]]:
    """Run it with this standard output, until it is told to stop."""
    command = [*SIMULATE, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=CLEAN, stdout=output, stderr=errors) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def lines_of(process: subprocess.Popen[bytes], count: int) -> list[str]:
    """Return the first lines that it prints."""
    assert process.stdout is not None
    return [process.stdout.readline().decode().rstrip("\n") for _ in range(count)]


def exported(lines: list[str]) -> dict[str, str]:
    """Return what a shell has after these lines."""
    words = [shlex.split(line) for line in lines if line.startswith("export ")]
    return dict(word.split("=", 1) for _, word in words)


def assert_accepted(environment: dict[str, str]) -> None:
    """Assert that `check --probe` finds the keys of every account accepted."""
    command = [sys.executable, "-m", "worker", "check", "--probe", "--json"]
    checked = subprocess.run(command, cwd=ROOT, env=CLEAN | environment, capture_output=True, check=False)
    probes = json.loads(checked.stdout)["probes"]
    assert {probe["account"]: probe["keys"] for probe in probes} == dict.fromkeys(REGISTRY, "accepted")


def test_lines_for_a_shell(shared_valkey: EmbeddedValkey) -> None:
    """With --env it prints lines for a shell and nothing else, after which the keys are accepted."""
    with simulate(subprocess.PIPE, "--env", "--accounts", "all") as process:
        lines = lines_of(process, 1 + sum(map(len, ACCOUNTS)))
        assert all(line.startswith("export OTPREPORT_") for line in lines)
        assert_accepted(exported(lines) | {"OTPREPORT_REDIS_URL": shared_valkey.url})


def test_a_file(shared_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """With --toml it prints a settings file, with which the keys are accepted."""
    path = tmp_path / "otpreport.toml"
    with simulate(subprocess.PIPE, "--toml", "--accounts", "all") as process:
        path.write_text("\n".join(lines_of(process, 2 + sum(len(account) + 2 for account in ACCOUNTS))))
        assert_accepted({"OTPREPORT_CONFIG": str(path), "OTPREPORT_REDIS_URL": shared_valkey.url})


def test_on_a_terminal(shared_valkey: EmbeddedValkey) -> None:
    """A person is shown what to paste, and where to see what arrives."""
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        with simulate(follower, "--accounts", "all"):
            os.close(follower)
            text = ""
            while "Ctrl-C stops them" not in text:
                text += terminal.read(4096).decode().replace("\r\n", "\n")
            assert_accepted(exported(text.splitlines()) | {"OTPREPORT_REDIS_URL": shared_valkey.url})
        assert "export OTPREPORT_REDIS_URL=" in text
        assert "otpreport run" in text
        assert "/-/ledger" in text


def test_into_a_file(tmp_path: Path) -> None:
    """A person who wrote the settings into a file is told that it runs, and how to end it."""
    leader, follower = os.openpty()
    with (
        os.fdopen(leader, "rb", buffering=0) as terminal,
        (tmp_path / "x.toml").open("w") as file,
        simulate(file.fileno(), "--toml", errors=follower),
    ):
        os.close(follower)
        text = ""
        while "\n" not in text:
            text += terminal.read(4096).decode()
    assert text.startswith("simulated providers are at http://127.0.0.1:")
    assert text.rstrip().endswith("; Ctrl-C stops them")


def test_both_at_once() -> None:
    """Two forms of one thing are one too many."""
    ran = run(None, "simulate", "--env", "--toml")
    assert (ran.status, ran.line.startswith("--env and --toml")) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "accounts"),
    [
        ((), ["tencent", "alibaba"]),
        (("--accounts", "twilio, sinch"), ["sinch", "twilio"]),
        (("--config", str(EXAMPLE)), list(accounts_for(load(EXAMPLE), "http://127.0.0.1:1"))),
    ],
)
def test_only_the_accounts_that_were_asked_for(arguments: tuple[str, ...], accounts: list[str]) -> None:
    """A person who did not ask for more has two accounts to look at; a file of one's own is shown whole."""
    known = accounts_for(load(EXAMPLE), "http://127.0.0.1:1")
    with simulate(subprocess.PIPE, "--toml", *arguments) as process:
        lines = lines_of(process, 2 + sum(len(known[name]) + 2 for name in accounts))
    assert [line for line in lines if line.startswith("[")] == [f"[accounts.{name}]" for name in accounts]


def test_an_account_that_is_not_there() -> None:
    """A misspelt name ends it, and says which one may be meant."""
    ran = run(None, "simulate", "--accounts", "alibaba,tencnet")
    assert (ran.status, ran.line) == (2, "--accounts tencnet: no such account: did you mean tencent?")


def test_every_key_is_an_account() -> None:
    """Each key that may report is an account with a name of its own, and with the rate that the simulator allows it."""
    keys = (
        Key("tencent", "a", "s", apps=("1400006666",)),
        Key("tencent", "b", 's"', token="t", apps=("1",), regions=("ap-guangzhou",), rate=20),
        Key("alibaba", "c", "s", denied=True),
    )
    first, second = accounts_for(Settings(keys), "http://127.0.0.1:1").items()
    assert first[0] == "tencent"
    assert "rate_limit" not in first[1]
    assert second == (
        "tencent_2",
        {
            "provider": "tencent",
            "endpoint": "http://127.0.0.1:1",
            "secret_id": "b",
            "secret_key": 's"',
            "security_token": "t",
            "sdk_app_id": "1",
            "region": "ap-guangzhou",
            "rate_limit": 20,
        },
    )


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda sample: sample.label)
def test_the_account_of_a_key_is_complete(sample: Sample) -> None:
    """Of every provider the account that is printed has all that is required, and signs in with the key."""
    if "account" in sample.key:
        return  # the key has an id beside the account's, for which no option is known
    settings = parse({"keys": [{"provider": sample.name, **sample.key}]})
    (account,) = accounts_for(settings, "http://127.0.0.1:1").values()
    kind = REGISTRY[sample.name]
    options = {name: value for name, value in account.items() if name not in {"provider", "endpoint"}}
    provider = kind(str(account["endpoint"]), kind.Options.model_validate(options))
    assert provider.key_id in {settings.keys[0].id, fingerprint(settings.keys[0].secret)}
    assert account.get(sample.token_option) == sample.token
