"""`send FILE` killed again and again, and beside a Redis in trouble."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.admin import admin
from tests.support.chaos import Row, record
from tests.support.command import environment
from tests.support.fleet import LONG, TENCENT, Fleet
from tests.support.wait import until
from tests.support.worker_process import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

EVENTS = 4000
KILLS = 8
AT_ONCE = 200
"""Events that one kill can have sent again."""

KILLED = "`send` killed (`kill -9`) and run again"


@contextmanager
def sending(fleet: Fleet, file: Path) -> Generator["subprocess.Popen[bytes]"]:
    """Send the file at 1000/s, and wait for the end."""
    command = [sys.executable, "-m", "worker", "send", str(file), "--yes", "--rate", "1000"]
    env = environment(fleet.valkey.url, OTPREPORT_CONFIG=str(fleet.config))
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        yield process


@contextmanager
def adopting(folder: Path) -> Generator[tuple[Fleet, Path]]:
    """Run a worker, and make a file of events for it."""
    with Fleet(folder, TENCENT, settings=LONG, options={"appendfsync": "always"}) as fleet:
        fleet.start_worker()
        events = fleet.events(EVENTS)
        file = folder / "events.jsonl"
        file.write_text("".join(json.dumps(event.to_wire()) + "\n" for event in events))
        fleet.sent += events
        yield fleet, file


def queued(fleet: Fleet) -> int:
    """Return how many events have reached Redis, repeats among them."""
    books = fleet.books()["tencent"]
    return books.ready + books.taken


def wait_until_queued(fleet: Fleet, count: int) -> None:
    """Wait until so many events have reached Redis."""
    until(lambda: queued(fleet) >= count)


def judge(fleet: Fleet, fault: str, times: int, repeats: int) -> None:
    """Nothing is lost; what was queued again, at most `repeats`, has ended as duplicate and was reported once."""
    fleet.wait_until_settled()
    audit = fleet.check()
    books = audit.books["tencent"]
    print(f"{books.duplicate} repeats")
    record(Row(fault, times, EVENTS, lost=len(audit.lost), again=audit.twice.total()))
    assert not audit.twice
    assert books.delivered == EVENTS
    assert books.duplicate == books.taken - EVENTS <= repeats


@pytest.mark.parametrize("keeps", [True, False])
def test_send_is_killed(tmp_path: Path, *, keeps: bool) -> None:
    """Run again it goes on where it was; negative control: without its state it sends all that was sent again."""
    chance = random.Random(1)
    with adopting(tmp_path) as (fleet, file):
        for _ in range(KILLS):
            with sending(fleet, file) as process:
                wait_until_queued(fleet, queued(fleet) + chance.randrange(1, 400))
                process.kill()
            if not keeps:
                Path(f"{file}.sent").unlink()
        with sending(fleet, file) as process:
            assert process.wait(60) == 0
        if keeps:
            judge(fleet, KILLED, KILLS, KILLS * AT_ONCE)
        else:
            fleet.wait_until_settled()
            assert fleet.check().books["tencent"].duplicate > KILLS * AT_ONCE / 4


def _restart(fleet: Fleet) -> None:
    fleet.valkey.kill()
    time.sleep(1.0)
    fleet.valkey.start()


def _freeze(fleet: Fleet) -> None:
    fleet.valkey.freeze()
    time.sleep(6.0)  # longer than the client waits for an answer
    fleet.valkey.thaw()


def _fill(fleet: Fleet) -> None:
    server = admin(fleet.redis)
    server.config_set("maxmemory", server.info("memory")["used_memory"] // 2)
    time.sleep(2.0)
    server.config_set("maxmemory", 0)


TROUBLES: dict[str, Callable[[Fleet], None]] = {
    "`kill -9`, started again": _restart,
    "frozen for 6 s (SIGSTOP)": _freeze,
    "full for 2 s (`maxmemory`, noeviction)": _fill,
}


@pytest.mark.parametrize("name", TROUBLES)
def test_send_beside_a_redis_in_trouble(tmp_path: Path, name: str) -> None:
    """It waits, and goes on by itself."""
    with adopting(tmp_path) as (fleet, file):
        with sending(fleet, file) as process:
            for part in (1, 2):
                wait_until_queued(fleet, part * EVENTS // 4)
                TROUBLES[name](fleet)
            assert process.wait(90) == 0
        judge(fleet, f"`send` while Redis is in trouble: {name}", 2, 2 * AT_ONCE)
