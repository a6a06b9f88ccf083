"""taskiq on its stream broker: no results, acknowledged when executed, arguments not parsed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisStreamBroker

from benchmarks.peers import job
from benchmarks.peers.recording import Events

broker = RedisStreamBroker(job.REDIS).with_serializer(ORJSONSerializer())


@broker.task(task_name="report")
async def report(event: dict[str, object]) -> None:
    """Report one event."""
    await job.report(event)


async def work() -> None:
    """Become taskiq's own command, which starts one worker process."""
    arguments = ["worker", f"{__name__}:broker", "--workers", "1", "--log-level", "WARNING", "--no-parse"]
    arguments += [
        "--max-async-tasks",
        str(job.CONCURRENCY),
        "--max-prefetch",
        "100",
        "--ack-type",
        "when_executed",
    ]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    await asyncio.to_thread(os.execv, sys.executable, [sys.executable, "-m", "taskiq", *arguments])


async def produce(events: Events) -> None:
    """Enqueue every event."""
    await broker.startup()
    async for event in events:
        await report.kiq(event)
    await broker.shutdown()
