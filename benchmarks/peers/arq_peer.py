"""arq: results off, 100 jobs at a time, a poll each 50 ms."""

from __future__ import annotations

from typing import Any

import orjson
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from benchmarks.peers import job
from benchmarks.peers.recording import Events

SETTINGS = RedisSettings.from_dsn(job.REDIS)


async def report(_: dict[str, Any], event: dict[str, object]) -> None:
    """Report one event."""
    await job.report(event)


async def work() -> None:
    """Work until SIGTERM."""
    worker = Worker(
        [func(report, name="report", keep_result=0, timeout=20)],
        redis_settings=SETTINGS,
        max_jobs=100,
        poll_delay=0.05,
        job_serializer=orjson.dumps,
        job_deserializer=orjson.loads,
        handle_signals=False,
    )
    await worker.main()


async def produce(events: Events) -> None:
    """Enqueue every event."""
    pool = await create_pool(SETTINGS, job_serializer=orjson.dumps, job_deserializer=orjson.loads)
    async for event in events:
        await pool.enqueue_job("report", event)
    await pool.aclose()
