"""SAQ: results off, orjson."""

from __future__ import annotations

from typing import Any

import orjson
from saq import Queue, Worker

from benchmarks.peers import job
from benchmarks.peers.recording import Events


def _queue() -> Any:
    return Queue.from_url(job.REDIS, dump=orjson.dumps, load=orjson.loads)


async def report(_: dict[str, Any], *, event: dict[str, object]) -> None:
    """Report one event."""
    await job.report(event)


async def work() -> None:
    """Work until SIGTERM."""
    worker: Any = Worker(_queue(), functions=[report], concurrency=job.CONCURRENCY)
    await worker.start()


async def produce(events: Events) -> None:
    """Enqueue every event."""
    queue = _queue()
    await queue.connect()
    async for event in events:
        await queue.enqueue("report", event=event, ttl=-1, timeout=20, retries=10)
    await queue.disconnect()
