"""A live fleet moves to another Redis with the commands of docs/operations.md."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.support.admin import admin
from tests.support.command import run
from tests.support.fleet import ALIBABA, LONG, TENCENT, Fleet
from tests.support.wait import until
from tests.support.worker_process import ROOT
from worker.embedded import EmbeddedValkey

PAUSED, TWICE = 30, 100
SETTINGS = {**LONG, "retry_base": 5.0, "retry_cap": 5.0}
FAILS_ONCE = {"faults": [{"kind": "unavailable", "message_id": "retry-*", "arrivals": 1}]}


DEADLY = """#!/bin/sh
calls=$(($(cat "$CALLS") + 1))
echo $calls > "$CALLS"
if [ $calls -eq "$AT" ]; then kill -9 $VICTIM; fi
exec "$CLIENT" "$@"
"""
"""A redis-cli before whose call number AT a process dies."""

OURSELVES = 0
"""The commands themselves: all processes of their group."""


def script() -> str:
    """Return the commands of step 4."""
    section = (ROOT / "docs" / "operations.md").read_text().partition("\n## Move to another Redis\n")[2]
    found = re.search(r"   ```sh\n(.*?)   ```\n", section, re.DOTALL)
    assert found
    return found[1]


@dataclass(frozen=True, slots=True)
class Move:
    """The commands of the docs, between two servers."""

    folder: Path
    commands: str
    old: EmbeddedValkey
    new: EmbeddedValkey

    def run(self, at: int = 0, victim: int = OURSELVES) -> tuple[int, str]:
        """Run them, if need be with a process dying at a call; return the number of calls and the last line."""
        calls, client = self.folder / "calls", self.folder / "bin" / "redis-cli"
        calls.write_text("0")
        client.parent.mkdir(exist_ok=True)
        client.write_text(DEADLY)
        client.chmod(0o755)
        names = {
            "OLD": self.old.url,
            "NEW": self.new.url,
            "NEW_HOST": "127.0.0.1",
            "NEW_PORT": str(self.new.port),
        }
        deadly = {
            "CALLS": str(calls),
            "AT": str(at),
            "VICTIM": str(victim),
            "CLIENT": str(shutil.which("redis-cli")),
        }
        path = {"PATH": f"{client.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", "-euc", self.commands],
            env=os.environ | names | deadly | path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            start_new_session=True,
        )
        return int(calls.read_text()), (done.stdout.splitlines() or [""])[-1]


@pytest.mark.parametrize("whole", [True, pytest.param(False, marks=pytest.mark.chaos)])
def test_move(tmp_path: Path, whole: bool) -> None:
    """Nothing is lost or repeated, and what an operator paused stays so; moving the queues alone repeats copies."""
    commands = script() if whole else script().replace("'otpreport:*'", "'otpreport:moved:*'")
    with (
        EmbeddedValkey(tmp_path / "new") as new,
        redis.Redis(port=new.port) as new_client,
        Fleet(tmp_path, TENCENT, ALIBABA, plan=FAILS_ONCE, settings=SETTINGS) as fleet,
    ):
        old, old_client = fleet.valkey, fleet.redis
        config = {"OTPREPORT_CONFIG": str(fleet.config)}
        worker = fleet.start_worker()
        paused = run(old.url, "accounts", "pause", "alibaba", "--reason", "ticket 1", env=config)
        assert paused.status == 0, paused.err
        fleet.enqueue(PAUSED, "alibaba")
        fleet.push_raw(b"nonsense")
        delivered = fleet.enqueue(TWICE)
        fleet.enqueue(5, prefix="retry-")
        fleet.wait_until_delivered(TWICE)
        until(lambda: fleet.books()["tencent"].scheduled == 5)
        fleet.redis = new_client
        fleet.configure(redis_url=new.url)
        with fleet.producing(100):  # the web apps, on the new one
            fleet.push(delivered)  # copies, as of a spool
            worker.terminate()
            assert worker.wait() == 0
            move = Move(tmp_path, commands, old, new)
            if whole:
                move.run(at=4)  # killed
            _, left = move.run()
            if whole:
                assert left == "0"
                assert move.run()[1] == "0", "it can't be run again"
            fleet.start_worker()
            if whole:
                states = run(new.url, "accounts", "list", "--json", env=config).json
                assert {one["account"]: one["state"] for one in states}["alibaba"] == "paused"
                assert fleet.books()["alibaba"].ready == PAUSED
                assert len(fleet.dead_letters()) == 1
                assert run(new.url, "accounts", "resume", "alibaba", env=config).status == 0
        fleet.wait_until_settled()
        audit = fleet.audit()
        if whole:
            assert not audit.lost
            assert not audit.twice
            fleet.check()
            assert not admin(old_client).keys("*")
        else:
            assert len(audit.lost) == 5
            assert len(audit.twice) == TWICE
