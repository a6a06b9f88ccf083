"""FastStream on a Redis stream: no dependency injection, no log; one event at a time, or batches to one handler."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import redis
import redis.asyncio
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from benchmarks.peers import job
from benchmarks.peers.recording import Events

BATCH = 200
IDLE_MS = 20_000


def _broker() -> Any:
    return RedisBroker(job.REDIS, apply_types=False, logger=None)


async def _create_group() -> None:
    """Create the group as a first start does, so that it has what came before this one, too."""
    untyped: Any = redis.asyncio.Redis
    async with untyped.from_url(job.REDIS) as client:
        with contextlib.suppress(redis.ResponseError):  # it is there
            await client.xgroup_create("events", "workers", "0", mkstream=True)


async def work(*, batched: bool = False, takes_over: bool = False) -> None:
    """Work until SIGTERM; a second subscriber takes over what another worker has held for too long."""
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

    if takes_over:
        left = StreamSub("events", group="workers", consumer=consumer, min_idle_time=IDLE_MS)

        @broker.subscriber(stream=left)
        async def report_what_was_left(event: dict[str, object]) -> None:
            await job.report(event)

    await _create_group()
    await FastStream(broker, logger=None).run()


async def work_batched() -> None:
    """Work in batches until SIGTERM."""
    await work(batched=True)


async def work_and_take_over() -> None:
    """Work until SIGTERM, also on what was left."""
    await work(takes_over=True)


async def work_batched_and_take_over() -> None:
    """Work in batches until SIGTERM, also on what was left."""
    await work(batched=True, takes_over=True)


async def produce(events: Events) -> None:
    """Enqueue every event."""
    broker = _broker()
    await broker.connect()
    async for event in events:
        await broker.publish(event, stream="events")
    await broker.stop()
