"""What it costs to follow an OTP from sent to closed: Redis' memory and time, and a worker's."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.backlog import NO_FILE
from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.reading import Spread
from benchmarks.usage import main_thread_us
from otpreport import Dispatch, Verification
from otpreport.wire import notice
from tasks.dedupe import Remembered
from tasks.keys import Keys
from tasks.tracking.tracker import Times, Tracked, Tracker
from tests.support.admin import admin
from worker.connect import connect
from worker.embedded import EmbeddedValkey

ACCOUNT, SHARE = "tencent", 0.7
"""The share of the OTPs that are verified."""

VALID = 30
"""Seconds for which an OTP is valid: the fewest that there are."""

WRITE, SENT, ENTERED, CLOSE = PARTS = (
    "write the notices",
    "note it as sent",
    "note it as verified",
    "close it",
)


@dataclass(slots=True)
class Costs:
    """Of one server: bytes of an open OTP and of one that is remembered; microseconds an OTP; the longest call, ms."""

    open: float = 0.0
    remembered: float = 0.0
    redis: dict[str, float] = field(default_factory=dict[str, float])
    worker: float = 0.0
    longest: float = 0.0


def run(effort: Effort) -> Finding:
    """Let the worker's own tracker follow OTPs with ids of 36 characters, on each server that is there."""
    count = effort.of(100_000, 20_000)
    binaries = {"Valkey": None, "Redis": shutil.which("redis-server")}
    servers = {name: binary for name, binary in binaries.items() if binary or name == "Valkey"}
    found: dict[str, list[Costs]] = {}
    for _ in range(effort.rounds):
        for name, binary in servers.items():
            costs, version = _measure(binary, count)
            found.setdefault(f"{name} {version}", []).append(costs)
            say(f"  {name} {version}: {costs}")
    header = ("for each OTP", *found)
    return Finding("An OTP that is tracked", header, _rows(list(found.values())), _note(count), None)


def _note(count: int) -> str:
    return (
        f"{count:,} OTPs, {SHARE:.0%} of them verified. Redis' figures are the CPU of its main thread, for the apps' "
        "LPUSH of each notice and the worker's calls of the script. What is remembered takes less each where there is "
        "more of it."
    )


def _rows(servers: Sequence[Sequence[Costs]]) -> list[tuple[str, ...]]:
    def row(label: str, read: Callable[[Costs], float], digits: int = 0) -> tuple[str, ...]:
        return (label, *(Spread.of([read(costs) for costs in rounds]).text(digits) for rounds in servers))

    return [
        row("memory while it is open, bytes", lambda costs: costs.open),
        row("memory once it is closed, for `DEDUPE_TTL`, bytes", lambda costs: costs.remembered),
        row("Redis, us", lambda costs: sum(costs.redis.values()), 1),
        *(row(f"... {part}", partial(_of_redis, part), 1) for part in PARTS),
        row("worker, us", lambda costs: costs.worker, 1),
        row("longest call of the script, ms", lambda costs: costs.longest, 1),
    ]


def _of_redis(part: str, costs: Costs) -> float:
    return costs.redis[part]


def _measure(binary: str | None, count: int) -> tuple[Costs, str]:
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        EmbeddedValkey(Path(folder), binary=binary, options=NO_FILE) as server,
        admin(server.port) as redis,
    ):
        info = redis.info("server")
        version = str(info.get("valkey_version") or info["redis_version"])
        return asyncio.run(_Course(server, redis, info["process_id"]).run(count)), version


class _Course:
    """One server, and OTPs on their way through it."""

    def __init__(self, server: EmbeddedValkey, redis: Any, pid: int) -> None:
        self._url = server.url
        self._redis = redis
        # what others do on its core lengthens no call by this measure
        self._redis_us = partial(main_thread_us, pid)
        self._costs = Costs()

    async def run(self, count: int) -> Costs:
        """Follow so many OTPs."""
        client = connect(self._url)
        # long enough for all to be noted before the first is closed
        times = Times(grace=max(20, count // 1000), watch=0)
        self._tracker = Tracker(client, Keys(), {}, lambda: (), remembered=Remembered(), times=times)
        await self._note([notice(_sent("first"))], SENT, 1)  # makes the account's own keys
        self._costs, empty = Costs(), self._memory()
        ids = [str(uuid.uuid4()) for _ in range(count)]
        await self._note([notice(_sent(id_)) for id_ in ids], SENT, count)
        self._costs.open = (self._memory() - empty) / count
        verified = [notice(_verified(id_)) for id_ in ids[: round(SHARE * count)]]
        await self._note(verified, ENTERED, count)
        await self._close(count)
        self._costs.remembered = (self._memory() - empty) / count
        await client.aclose()
        return self._costs

    async def _note(self, notices: Sequence[bytes], part: str, count: int) -> None:
        """Write notices, each as an app does, and have them noted."""
        before = self._redis_us()
        for start in range(0, len(notices), 1000):
            pipe = self._redis.pipeline(transaction=False)
            for one in notices[start : start + 1000]:
                pipe.lpush(Keys().notices(ACCOUNT), one)
            pipe.execute()
        self._add(WRITE, (self._redis_us() - before) / count)
        noted = 0
        while noted < len(notices):
            noted += (await self._track(part, count)).noted

    async def _close(self, count: int) -> None:
        closed, end = 0, time.monotonic() + 600
        while closed < count:
            tracked = await self._track(CLOSE, count)
            closed += tracked.closed
            if not tracked.closed:
                await asyncio.sleep(0.5)
            if time.monotonic() > end:
                raise RuntimeError(f"of {count} OTPs {closed} were closed")

    async def _track(self, part: str, count: int) -> Tracked:
        """Call once, and add what it cost."""
        redis, worker = self._redis_us(), time.process_time()
        tracked = await self._tracker.track([ACCOUNT])
        self._costs.worker += (time.process_time() - worker) / count * 1e6
        spent = self._redis_us() - redis
        self._add(part, spent / count)
        self._costs.longest = max(self._costs.longest, spent / 1000)
        return tracked

    def _add(self, part: str, spent: float) -> None:
        self._costs.redis[part] = self._costs.redis.get(part, 0.0) + spent

    def _memory(self) -> int:
        return int(self._redis.info("memory")["used_memory"])


def _sent(message_id: str) -> Dispatch:
    now = datetime.now(UTC)
    return Dispatch(account=ACCOUNT, message_id=message_id, sent_at=now, expires_in=VALID, country="SG")


def _verified(message_id: str) -> Verification:
    return Verification(account=ACCOUNT, message_id=message_id, occurred_at=datetime.now(UTC))
