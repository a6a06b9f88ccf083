"""`python -m worker ...` as an operator runs it."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.cli.app import main

ROOT = Path(__file__).parents[2]
SECRET = "the-very-secret-key"

ACCOUNTS = {
    "OTPREPORT_ACCOUNTS__TENCENT__PROVIDER": "tencent",
    "OTPREPORT_ACCOUNTS__TENCENT__ENDPOINT": "http://127.0.0.1:9",
    "OTPREPORT_ACCOUNTS__TENCENT__SECRET_ID": "AKIDEXAMPLEEXAMPLE0001",
    "OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY": SECRET,
    "OTPREPORT_ACCOUNTS__TENCENT__SDK_APP_ID": "1400000001",
    "OTPREPORT_ACCOUNTS__ALIBABA__PROVIDER": "alibaba",
    "OTPREPORT_ACCOUNTS__ALIBABA__ENDPOINT": "http://127.0.0.1:9",
    "OTPREPORT_ACCOUNTS__ALIBABA__ACCESS_KEY_ID": "LTAI5tEXAMPLEEXAMPLE0001",
    "OTPREPORT_ACCOUNTS__ALIBABA__ACCESS_KEY_SECRET": SECRET,
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """The one line it left on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


def environment(url: str | None, **more: str) -> dict[str, str]:
    """Return the environment of a command: two accounts, a Redis, nothing of ours from outside."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
    redis = {"OTPREPORT_REDIS_URL": url} if url else {}
    return clean | {"PYTHONPATH": str(ROOT), "OTPREPORT_LOG_FORMAT": "json"} | ACCOUNTS | redis | more


def call(url: str | None, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
    """Run a command in this process: as `run`, without the second it takes to start."""
    return call_in(environment(url, **(env or {})), *arguments)


def call_in(whole_environment: Mapping[str, str], *arguments: str) -> Ran:
    """Run a command in this process, with nothing but this in its environment."""
    with _environment(whole_environment), _arguments(arguments), _streams() as (out, err):
        try:
            main()
            status: object = 0
        except SystemExit as stopped:
            status = stopped.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        ran = Ran(int(str(status)), out.getvalue().decode(), err.getvalue().decode())
    assert "Traceback" not in ran.err, ran.err
    assert SECRET not in ran.out + ran.err
    return ran


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Generator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _arguments(arguments: Sequence[str]) -> Generator[None]:
    before = sys.argv
    sys.argv = ["worker", *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _streams() -> Generator[tuple[io.BytesIO, io.BytesIO]]:
    """Catch standard output and error, and leave the logging as it was."""
    out, err, root = io.BytesIO(), io.BytesIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with redirect_stdout(io.TextIOWrapper(out)), redirect_stderr(io.TextIOWrapper(err)):
            yield out, err
    finally:
        root.handlers[:], root.level = handlers, level
        logging.captureWarnings(capture=False)


def run(url: str | None, *arguments: str, env: Mapping[str, str] | None = None, answer: str = "") -> Ran:
    """Run a command to its end; never with a traceback or a secret."""
    command = [sys.executable, "-m", "worker", *arguments]
    done = subprocess.run(
        command,
        env=environment(url, **(env or {})),
        cwd=ROOT,
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)
