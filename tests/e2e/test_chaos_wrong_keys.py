"""Keys that get a wrong type while a fleet works, one after another; and what the version before lost by one."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.admin import admin
from tests.support.chaos import LEASE, SETTINGS, Trial, longest_silence
from tests.support.earlier import BEFORE, checkout
from tests.support.fleet import ALIBABA, LONG, TENCENT, Account, Fleet
from tests.support.wait import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

GOOD = Account("tencent", "tencent", 200)
BAD = Account("alibaba", "alibaba", 50)
PLAN = {"latency": {"base_ms": 50, "jitter_ms": 50}}
WAITING = 2000
"""More events than the bad account sends while its keys are spoilt."""

OWN = (
    "otpreport.alibaba",
    "otpreport:taken:alibaba",
    "otpreport:scheduled:alibaba",
    "otpreport:suspects:alibaba",
    "otpreport:account:alibaba",
    "otpreport:aged:alibaba",
    "otpreport:rate:alibaba:*",
)
"""Keys that an account can't do without."""

SHARED = ("otpreport:workers", "otpreport:books", "otpreport:claims")
"""Keys that no account can do without."""

SILENCE = LEASE
"""Seconds that the other account may be silent at most: it waits for no lease to end."""


def spoil(server: Any, key: str) -> bool:
    """Put a string in the key's place; return whether there was anything, which is kept."""
    kept = bool(server.exists(key))
    with server.pipeline() as pipe:
        if kept:
            pipe.rename(key, "kept")
        pipe.set(key, "x")
        pipe.execute()
    return kept


def mend(server: Any, key: str, *, kept: bool) -> None:
    """Put back what was there."""
    with server.pipeline() as pipe:
        pipe.delete(key)
        if kept:
            pipe.rename("kept", key)
        pipe.execute()


def named(fleet: Fleet, key: str) -> bool:
    """Say whether a worker has named the key."""
    return any(key in line["key"] for worker in fleet.workers for line in worker.lines("redis key unusable"))


def sent(fleet: Fleet, account: Account) -> int:
    """Return how many reports of the account the provider has taken."""
    return sum(row["taken"] for row in fleet.simulator.ledger() if row["key"] == account.key)


def test_keys_of_one_account(tmp_path: Path) -> None:
    """Its own events wait and the key is named; another account goes on; nothing is lost or sent twice."""
    with Fleet(tmp_path, GOOD, BAD, plan=PLAN, settings=SETTINGS) as fleet:
        trial, server = (
            Trial(fleet, "an account's keys get a wrong type, one after another"),
            admin(fleet.redis),
        )
        trial.watch(fleet.start_workers(2))
        fleet.enqueue(WAITING, "alibaba")
        fleet.wait_until_delivered(50)
        began = time.time()
        with fleet.producing(50):
            for pattern in OWN:
                (key,) = (found.decode() for found in server.keys(pattern)) if "*" in pattern else (pattern,)
                kept = spoil(server, key)
                until(lambda: named(fleet, key))  # noqa: B023 - called in this round
                before = sent(fleet, GOOD)
                until(lambda: sent(fleet, GOOD) > before + 100)  # noqa: B023
                mend(server, key, kept=kept)
                spoilt = sent(fleet, BAD)
                mended = time.monotonic()
                until(lambda: sent(fleet, BAD) > spoilt)  # noqa: B023
                trial.seconds.append(time.monotonic() - mended)
                trial.times += 1
        assert longest_silence(fleet, began) < SILENCE
        trial.end()


def test_keys_that_all_share(tmp_path: Path) -> None:
    """The fleet stands still, names the key and loses nothing; once it is mended, it goes on."""
    with Fleet(tmp_path, GOOD, plan=PLAN, settings=LONG) as fleet:
        trial, server = Trial(fleet, "keys that all accounts share get a wrong type"), admin(fleet.redis)
        trial.watch(fleet.start_workers(2))
        fleet.enqueue(WAITING)
        fleet.wait_until_delivered(50)
        for key in SHARED:
            kept = spoil(server, key)
            until(lambda: named(fleet, key))  # noqa: B023 - called in this round
            mend(server, key, kept=kept)
            before, mended = sent(fleet, GOOD), time.monotonic()
            until(lambda: sent(fleet, GOOD) > before + 50)  # noqa: B023
            trial.seconds.append(time.monotonic() - mended)
            trial.times += 1
        trial.end()


def test_the_version_before_throws_a_queue_away(tmp_path: Path) -> None:
    """The control: it pops what it then can't note, until the queue is empty."""
    with Fleet(tmp_path, TENCENT, ALIBABA, plan=PLAN, settings=LONG) as fleet:
        fleet.launch(root=checkout(tmp_path / BEFORE)).wait_until_started()
        server = admin(fleet.redis)
        server.set("otpreport:taken:alibaba", "x")
        fleet.enqueue(300, "alibaba")
        until(lambda: server.llen("otpreport.alibaba") == 0)
        server.delete("otpreport:taken:alibaba")
        fleet.enqueue(1, "alibaba")
        fleet.wait_until_delivered(1)
        assert len(fleet.audit().lost) == 300
