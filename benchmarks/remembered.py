"""What Redis needs to remember a delivered event for a day, so that a copy of it is not reported again."""

from __future__ import annotations

import asyncio
import time

from benchmarks.backlog import NO_FILE
from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.stage import Stage
from tasks.dedupe import Remembered
from tasks.delivery import Delivery, read
from tasks.keys import Keys
from tasks.queue.queue import SETTLED_AT_ONCE, Queue
from tasks.settlement import Ending, Finish
from worker.connect import connect

PLAIN_KEY = 119
"""Bytes of one key with a time to live for each event, the usual way."""


def run(effort: Effort) -> Finding:
    """Deliver events by the worker's own scripts, asking no provider, and see what stays in Redis."""
    counts = effort.of((10_000, 100_000, 1_000_000), (10_000, 50_000))
    with Stage(options=NO_FILE) as stage:
        sizes = asyncio.run(_sizes(stage, counts))
    rows = [
        (f"{count:,} remembered", f"{size:.0f}", f"{size / PLAIN_KEY:.2f}") for count, size in sizes.items()
    ]
    note = f"A key of its own with a time to live takes {PLAIN_KEY} bytes."
    return Finding("A remembered event", ("", "bytes each", "x a plain key"), rows, note, sizes)


async def _sizes(stage: Stage, counts: tuple[int, ...]) -> dict[int, float]:
    client = connect(stage.valkey.url)
    queue = Queue(client, Keys(), "benchmark", lease=3600, remembered=Remembered())
    await _deliver(stage, queue)
    done, empty = 0, stage.redis_megabytes()
    sizes: dict[int, float] = {}
    for count in counts:
        while done < count:
            done += await _deliver(stage, queue)
        sizes[count] = (stage.redis_megabytes() - empty) * 1e6 / done
        say(f"  {count}: {sizes[count]:.0f} bytes each")
    await client.aclose()
    return sizes


async def _deliver(stage: Stage, queue: Queue) -> int:
    """Let one batch of new events come to a good end."""
    stage.push(SETTLED_AT_ONCE)
    batch = await queue.lease({"tencent": SETTLED_AT_ONCE})
    read_at = time.time_ns() // 1_000_000
    deliveries = [read(leased, now_ms=read_at) for leased in batch.leased]
    good = [(delivery, Finish(Ending.DELIVERED)) for delivery in deliveries if isinstance(delivery, Delivery)]
    if not all(await queue.settle(good, queue.next_call())) or len(good) != SETTLED_AT_ONCE:
        raise RuntimeError("not every event was delivered")
    return len(good)
