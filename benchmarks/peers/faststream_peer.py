"""FastStream on a Redis stream: no dependency injection, no log; one event at a time, or batches to one handler."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from benchmarks.peers import job
from benchmarks.peers.recording import Events

BATCH = 200


def _broker() -> Any:
    return RedisBroker(job.REDIS, apply_types=False, logger=None)


async def work(*, batched: bool = False) -> None:
    """Work until SIGTERM."""
    broker = _broker()
    consumer = f"worker-{os.getpid()}"
    if batched:
        stream = StreamSub(
            "events", group="workers", consumer=consumer, batch=True, max_records=BATCH, polling_interval=20
        )

        @broker.subscriber(stream=stream)
        async def report_many(events: list[dict[str, object]]) -> None:
            await asyncio.gather(*map(job.report, events))

    else:
        stream = StreamSub(
            "events", group="workers", consumer=consumer, max_records=BATCH, polling_interval=20
        )

        @broker.subscriber(stream=stream, max_workers=job.CONCURRENCY)
        async def report(event: dict[str, object]) -> None:
            await job.report(event)

    await FastStream(broker, logger=None).run()


async def work_batched() -> None:
    """Work in batches until SIGTERM."""
    await work(batched=True)


async def produce(events: Events) -> None:
    """Enqueue every event."""
    broker = _broker()
    await broker.connect()
    async for event in events:
        await broker.publish(event, stream="events")
    await broker.stop()
