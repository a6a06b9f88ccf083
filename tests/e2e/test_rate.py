"""The rate at the provider's door: in every second at most the limit, whatever happens to the workers.

The judge is the simulator. It sets aside the seconds in which it was itself late by more than 5 ms, for then it does
not know when a request arrived; how many those were is printed.
"""

import contextlib
import math
import os
import shutil
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import pytest

from benchmarks.usage import machine_seconds
from tests.support.admin import admin
from tests.support.fleet import ALIBABA, KEY_IDS, LONG, TENCENT, Account, Fleet
from tests.support.simulator import Json
from tests.support.tinyproxy import Tinyproxy
from tests.support.wait import until
from tests.support.worker_process import odd

FAST, SLOW = 200, 20
ONE = Account("one", "tencent", FAST)
TWO = Account("two", "tencent", FAST)
"""Two accounts with one key: the provider counts them together."""

DRIP = Account("drip", "alibaba", SLOW)
TWENTY = Account("twenty", "alibaba_cn", SLOW)
MODEST = 50
"""A limit that a busy machine reaches, too, for the tests that want to see it broken."""

SATURATED = 30
"""Seconds for which there are events enough."""

JITTER = 50.0
"""Milliseconds that the network may add, to each request another."""

BUSY = 0.85
"""How much of all cores may be in use until workers wait for them."""

LEAST = 8
"""Seconds in a row with cores to spare that show how much of a limit is used."""

AHEAD = ["faketime", "-f", "+7s"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A key's busiest seconds, as far as the judge was on time, and how many requests a second came on average."""

    limit: int
    aligned: int
    sliding: int
    set_aside: int
    in_all: int
    rate: float

    @property
    def worst(self) -> int:
        """The most arrivals in any one second."""
        return max(self.aligned, self.sliding)


def judge(fleet: Fleet, provider: str) -> Judgement:
    """Return the judgement on a provider's one key, and print it."""
    key: Json = fleet.simulator.key(provider)
    times = [row["t"] for row in fleet.simulator.ledger() if row["provider"] == provider]
    result = Judgement(
        limit=key["rate"],
        aligned=key["aligned"]["worst_on_time"],
        sliding=key["sliding"]["worst_on_time"],
        set_aside=key["sliding"]["set_aside"],
        in_all=key["sliding"]["worst"],
        rate=(len(times) - 1) / (times[-1] - times[0]),
    )
    print(f"{provider}: {result}, {len(times)} arrivals")
    return result


def held(fleet: Fleet, provider: str) -> Judgement:
    """Return the judgement; AssertionError when the limit was broken, or when it can't be told.

    A judge that comes late sees requests closer together than they came. What is within the limit even so, is.
    """
    result = judge(fleet, provider)
    assert result.sliding or result.in_all <= result.limit, (
        "the judge was late in every second: nothing is proved"
    )
    assert result.worst <= result.limit
    return result


def punctual(folder: Path, *accounts: Account, **plan: object) -> Fleet:
    """Return a fleet that goes before other people's work on this machine, its judge before all, where allowed."""
    return Fleet(folder, *accounts, plan=plan, settings=LONG, wrapper=("nice", "-n", "-15"))


class Cores:
    """Note once a second how busy the machine is, as long as the context is open."""

    def __init__(self) -> None:
        self._noted: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._note, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _note(self) -> None:
        while not self._over.wait(1.0):
            self._noted.append((time.time(), machine_seconds()))

    def spare(self, begin: float, end: float) -> tuple[float, float]:
        """Return the longest stretch (UNIX seconds) between two moments in which no second was too BUSY."""
        best, since = (begin, begin), math.inf
        for (before, used), (now, more) in pairwise(self._noted):
            busy = (more - used) / (now - before) / (os.cpu_count() or 1)
            since = min(since, before) if begin <= before and now <= end and busy <= BUSY else math.inf
            best = max(best, (since, now), key=lambda stretch: stretch[1] - stretch[0])
        return best


def use(fleet: Fleet, provider: str, cores: Cores) -> float | None:
    """Return how much of its limit a key used while there were cores to spare; None when that was too short a time."""
    times = [row["unix"] for row in fleet.simulator.ledger() if row["provider"] == provider]
    begin, end = cores.spare(times[0], times[-1])
    came = sum(begin <= at < end for at in times)
    print(f"{provider}: {came} arrivals in {end - begin:.1f} s with cores to spare")
    limit: int = fleet.simulator.key(provider)["rate"]
    # such a stretch begins and ends anywhere between two arrivals
    return (came + 1) / (limit * (end - begin)) if end - begin >= LEAST else None


def put_the_judge_first(fleet: Fleet) -> None:
    """Let the simulator run whenever it can, where allowed."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(fleet.simulator.pid, os.SCHED_FIFO, os.sched_param(1))
        os.setpriority(os.PRIO_PROCESS, fleet.valkey.pid, -15)


def pass_time(seconds: float) -> None:
    """Let the workers work: a rate shows only over time."""
    threading.Event().wait(seconds)


def test_through_everything(tmp_path: Path) -> None:
    """Workers that start, stop, stall and lose the limiter's keys keep two limits in every second."""
    with punctual(tmp_path, ONE, TWO, DRIP) as fleet:
        put_the_judge_first(fleet)
        first, second = fleet.start_workers(2)
        with fleet.producing(115, "one"), fleet.producing(115, "two"), fleet.producing(23, "drip"):
            fleet.wait_until_arrived(300)
            third = fleet.start_worker()
            first.terminate()
            pass_time(1.0)
            second.freeze()
            pass_time(3.0)
            second.thaw()
            pass_time(1.0)
            admin(fleet.redis).delete(*admin(fleet.redis).keys("otpreport:rate:*"))
            fleet.launch()
            pass_time(2.0)
        assert first.wait() == 0
        assert third.running
        fleet.wait_until_settled(90)
        audit = fleet.check()
        assert sum(books.delivered for books in audit.books.values()) == len(fleet.sent)
        assert not audit.twice
        for provider in ("tencent", "alibaba"):
            held(fleet, provider)


@pytest.mark.parametrize("jitter", [pytest.param(0.0, marks=pytest.mark.chaos), JITTER])
def test_use(tmp_path: Path, jitter: float) -> None:
    """With events enough three workers use most of a limit and never more, also through a jittery network."""
    with punctual(tmp_path, ONE, door_jitter_ms=jitter) as fleet:
        put_the_judge_first(fleet)
        fleet.start_workers(3)
        fleet.enqueue(1200, "one")
        fleet.wait_until_settled()
        fleet.check()
        # the promise stands below
        assert held(fleet, "tencent").rate > FAST / 2, "it waits for something else than the rate"


def test_through_a_proxy(tmp_path: Path) -> None:
    """Two workers that only get out by a proxy keep the limit, while it is restarted, too; nothing is lost."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    with (
        Tinyproxy(folder) as proxy,
        punctual(tmp_path, Account("one", "tencent", FAST, {"proxy": proxy.url})) as fleet,
    ):
        put_the_judge_first(fleet)
        fleet.start_workers(2)
        fleet.enqueue(1200, "one")
        fleet.wait_until_arrived(300)
        proxy.restart()
        fleet.wait_until_settled(90)
        audit = fleet.check()
        assert audit.books["one"].delivered == len(fleet.sent)
        held(fleet, "tencent")
        assert proxy.connects


def test_skewed_clocks(tmp_path: Path) -> None:
    """A worker whose clock is seconds ahead and one whose clock is right keep the limit together."""
    if not shutil.which(AHEAD[0]):
        pytest.skip("needs faketime: apt-get install faketime")
    with punctual(tmp_path, ONE) as fleet:
        put_the_judge_first(fleet)
        skewed = fleet.launch(wrapper=AHEAD)
        right = fleet.start_worker()
        skewed.wait_until_started()
        until(lambda: skewed.lines("worker started")[0]["time"] > right.lines("worker started")[0]["time"])
        fleet.enqueue(1200, "one")
        fleet.wait_until_settled()
        fleet.check()
        held(fleet, "tencent")
        for worker in (skewed, right):
            assert worker.metric("otpreport_events_total") > 200, "it took no part"


def test_unsynchronised(tmp_path: Path) -> None:
    """Workers that do not share a limiter break the limit, and the judge sees it: on average, not by being late."""
    apart = [Account(name, "tencent", MODEST, {"rate_group": name}) for name in ("one", "two")]
    with punctual(tmp_path, *apart, rates={KEY_IDS["tencent"]: 10_000}) as fleet:
        put_the_judge_first(fleet)
        fleet.start_worker()
        for account in fleet.accounts:
            fleet.enqueue(4 * MODEST, account)
        fleet.wait_until_settled()
        assert judge(fleet, "tencent").rate > MODEST


@pytest.mark.chaos
def test_too_fast(tmp_path: Path) -> None:
    """A limiter that grants twice the limit breaks the limit, and the judge sees that, too."""
    account = Account("one", "tencent", MODEST)
    with punctual(tmp_path, account, rates={KEY_IDS["tencent"]: 10_000}) as fleet:
        put_the_judge_first(fleet)
        fleet.start_worker(odd("too-fast"))
        fleet.enqueue(6 * MODEST, "one")
        fleet.wait_until_settled()
        assert judge(fleet, "tencent").rate > MODEST


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("jitter", [0.0, JITTER])
@pytest.mark.parametrize("accounts", [(TENCENT,), (ALIBABA, TWENTY)], ids=["1000", "500-and-20"])
def test_documented_limits(tmp_path: Path, accounts: tuple[Account, ...], jitter: float) -> None:
    """Eight workers, two of which start and four end meanwhile, keep each limit and use 95 %; with jitter 90 %.

    How much is used shows while no worker waits for a core: not while one starts beside five that work, on two cores.
    """
    with (
        punctual(tmp_path, *accounts, door_jitter_ms=jitter, latency={"base_ms": 50}) as fleet,
        Cores() as cores,
    ):
        put_the_judge_first(fleet)
        workers = fleet.start_workers(6)
        for account in accounts:
            fleet.enqueue(SATURATED * account.rate, account.name)
        for worker in workers[:2]:
            fleet.start_worker()
            worker.terminate()
            assert worker.wait() == 0
        for worker in workers[2:4]:
            worker.terminate()
            assert worker.wait() == 0
        fleet.wait_until_settled(4 * SATURATED)
        assert not fleet.check().twice
        for account in accounts:
            held(fleet, account.provider)
        uses = [use(fleet, account.provider, cores) for account in accounts]
    known = [used for used in uses if used is not None]
    if not known:
        pytest.skip(
            "the limits held, but this machine can't feed the workers long enough to see how much they use"
        )
    assert min(known) >= (0.9 if jitter else 0.95)
