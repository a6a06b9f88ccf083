"""streaQ: results off, silent tasks, orjson, uvloop."""

from __future__ import annotations

from typing import Any

import orjson
from streaq import Worker

from benchmarks.peers import job
from benchmarks.peers.recording import Events

worker: Any = Worker(
    redis_url=job.REDIS,
    concurrency=job.CONCURRENCY,
    serializer=lambda value: orjson.dumps(value, default=list).decode(),
    deserializer=orjson.loads,
    handle_signals=False,
)


@worker.task(silent=True, ttl=0, name="report", max_tries=10)
async def report(event: dict[str, object]) -> None:
    """Report one event."""
    await job.report(event)


async def work() -> None:
    """Work until SIGTERM."""
    await worker.run_async()


async def produce(events: Events) -> None:
    """Enqueue every event."""
    async with worker:
        async for event in events:
            await report.enqueue(event)
