"""ArdiQ, whose queue is written in Rust."""

from __future__ import annotations

from typing import Any

from ardiq import Ardiq

from benchmarks.peers import job
from benchmarks.peers.recording import Events

app: Any = Ardiq(redis_url=job.REDIS, queue_name="reports", concurrency=job.CONCURRENCY)


@app.task(name="report")
async def report(event: dict[str, object]) -> None:
    """Report one event."""
    await job.report(event)


async def work() -> None:
    """Work until SIGTERM."""
    await app.run()


async def produce(events: Events) -> None:
    """Enqueue every event."""
    async for event in events:
        await report.enqueue(event)
