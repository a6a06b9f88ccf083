"""A worker's keys follow their files."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
import redis

import config
from config.logging import JsonFormatter
from config.watch import Watch
from providers.base import Provider
from tasks.limiter.groups import DerivedGroup
from tests.support.command import ROOT
from tests.support.simulator import Json
from tests.support.wait import coming
from tests.unit.config.environment import GOOD, SECRET, account
from worker.credentials import Credentials
from worker.daemon import in_daemon
from worker.groups import with_groups
from worker.metrics import Metrics

KEY = "OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY"
INTERVAL = 0.02
IN_FORCE = "tencent:sms.example:0"
NEW = "new-secret-VALUE"


@dataclass
class Desk:
    """Who would sign, the metrics and the log of a worker whose keys stand in files."""

    folder: Path
    metrics: Metrics = field(default_factory=lambda: Metrics({"tencent": "tencent", "two": "tencent"}))
    renewed: list[tuple[str, Provider]] = field(default_factory=list[tuple[str, Provider]])
    probed: list[str] = field(default_factory=list[str])
    redis_away: bool = False
    other_group: str = ""
    text: StringIO = field(default_factory=StringIO)

    def renew(self, account: str, provider: Provider) -> None:
        """Take new keys."""
        self.renewed.append((account, provider))

    async def settle(self, accounts: Iterable[DerivedGroup]) -> dict[str, str]:
        """Keep every group, as the first worker has it."""
        if self.redis_away:
            raise redis.ConnectionError
        return {one.account: self.other_group or IN_FORCE for one in accounts}

    async def probe_now(self, account: str) -> None:
        """Remember which account is to be probed."""
        if self.redis_away:
            raise redis.ConnectionError
        self.probed.append(account)

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        (self.folder / name).write_text(text)

    def lines(self, event: str) -> list[Json]:
        """Return the log lines of one event."""
        lines: list[Json] = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def reloads(self, account: str, result: str) -> float:
        """Return how many reloads were counted."""
        labels = {"account": account, "provider": "tencent", "result": result}
        return self.metrics.registry.get_sample_value("otpreport_credentials_reloads_total", labels) or 0.0

    @property
    def stale(self) -> float:
        """Whether the files hold something else than what runs."""
        return self.metrics.registry.get_sample_value("otpreport_settings_stale") or 0.0


@asynccontextmanager
async def desk(folder: Path) -> AsyncGenerator[Desk]:
    """Run what a worker runs, at a quick pace."""
    made = Desk(folder)
    for name, text in (("id", "AKIDexample"), ("key", SECRET), ("toml", "")):
        made.write(name, text)
    environment = {name: value for name, value in GOOD.items() if "SECRET" not in name} | account("TWO")
    environment |= {
        "OTPREPORT_ACCOUNTS__TENCENT__SECRET_ID_FILE": str(folder / "id"),
        f"{KEY}_FILE": str(folder / "key"),
        "OTPREPORT_CONFIG": str(folder / "toml"),
    }
    handler = logging.StreamHandler(made.text)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("otpreport.worker")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    running = with_groups(config.load(environment), {"tencent": IN_FORCE})
    credentials = Credentials(running, Watch(environment), made, made.settle, made.probe_now, made.metrics)
    task = asyncio.create_task(credentials.run(INTERVAL))
    try:
        yield made
        assert not task.done()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for secret in (SECRET, NEW):
        assert secret not in made.text.getvalue()


async def test_new_keys_are_used_told_and_counted(tmp_path: Path) -> None:
    """Id and secret, written one after the other, come as one change; the log shows no more of the id than `check`."""
    async with desk(tmp_path) as found:
        found.write("id", "AKIDEXAMPLEEXAMPLE0002")
        found.write("key", NEW)
        await coming(lambda: bool(found.renewed))
        [(name, provider)] = found.renewed
        assert (name, provider.key_id) == ("tencent", "AKIDEXAMPLEEXAMPLE0002")
        [line] = found.lines("credentials changed")
        assert (line["account"], line["key_id"], line["level"]) == ("tencent", "AKID...0002", "info")
        assert (found.reloads("tencent", "changed"), found.reloads("two", "changed")) == (1, 0)
        assert found.stale == 0
        await coming(lambda: found.probed == ["tencent"])


async def test_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    """The old keys stay, with a line and a count; when the file is right again, the new ones are taken."""
    async with desk(tmp_path) as found:
        found.write("key", "two words")
        await coming(lambda: found.stale == 1)
        [line] = found.lines("settings invalid, keeping the old keys")
        assert len(line["faults"]) == 1
        assert line["faults"][0].startswith("accounts.tencent.secret_key is not valid")
        assert not found.renewed
        assert found.reloads("tencent", "refused") == 1
        found.write("key", NEW)
        await coming(lambda: bool(found.renewed))
        assert found.stale == 0


async def test_what_needs_a_restart_is_told_once(tmp_path: Path) -> None:
    """Another setting in the same file is named and left alone, while the keys are taken."""
    async with desk(tmp_path) as found:
        found.write("toml", "retry_base = 2\n")
        await coming(lambda: found.stale == 1)
        found.write("key", NEW)
        await coming(lambda: bool(found.renewed))
        [line] = found.lines("settings changed, restart needed")
        assert line["settings"] == ["retry_base"]
        found.write("toml", "")
        await coming(lambda: found.stale == 0)
        assert len(found.renewed) == 1


async def test_a_key_that_belongs_to_another_limiter_needs_a_restart(tmp_path: Path) -> None:
    """Its requests count there; the worker's own limiter stays until it starts anew, and that is told."""
    async with desk(tmp_path) as found:
        found.other_group = "tencent:sms.example:1"
        found.write("id", "AKIDother")
        await coming(lambda: found.stale == 1)
        [line] = found.lines("settings changed, restart needed")
        assert line["settings"] == ["accounts.tencent.rate_group"]
        assert len(found.renewed) == 1


async def test_new_keys_do_not_wait_for_redis(tmp_path: Path) -> None:
    """Without Redis the keys are taken all the same."""
    async with desk(tmp_path) as found:
        found.redis_away = True
        found.write("id", "AKIDother")
        await coming(lambda: bool(found.renewed))
        await coming(lambda: found.reloads("tencent", "changed") == 1)


HANGING = """
import asyncio, sys, threading
from worker import credentials

begun = threading.Event()

class Hanging:
    def look(self):
        begun.set()
        open(sys.argv[1]).read()

async def main():
    if sys.argv[2] == "executor":
        credentials.in_daemon = asyncio.to_thread
    running = asyncio.create_task(credentials.Credentials(None, Hanging(), None, None, None, None).run(0))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    assert sum(one.name == "otpreport-daemon" for one in threading.enumerate()) <= 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print("cancelled", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("thread", ["daemon", "executor"])
def test_a_look_that_hangs_keeps_no_worker_from_exiting(tmp_path: Path, thread: str) -> None:
    """A pipe that nobody writes to stands for a file server that is gone; an executor would wait for it."""
    pipe = tmp_path / "key"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", HANGING, str(pipe), thread]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"cancelled\n"
        if thread == "executor":
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            pipe.write_text("")
        assert process.wait(30) == 0


async def test_what_a_daemon_raises_is_raised() -> None:
    """As if it had been called here."""
    assert await in_daemon(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_daemon(lambda: 1 // 0)
