"""The figure that an autoscaler goes by, as Prometheus reads it from the exporter."""

import asyncio

import aiohttp
import redis
from prometheus_client.parser import text_string_to_metric_families

from config.settings import load
from tasks.keys import Keys
from tests.support.admin import admin
from tests.support.command import environment
from worker.fleet.exporter import Exporter

BACKLOG = 60_000
ACCOUNTS = ("tencent", "alibaba")


async def wanted(port: int) -> float | None:
    """Return what the exporter serves, if it does."""
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    family = families.get("otpreport_desired_workers")
    return family.samples[0].value if family else None


async def becomes(port: int, workers: int) -> None:
    """Wait until the exporter asks for this many workers."""
    async with asyncio.timeout(30):
        while True:
            if await wanted(port) == workers:
                return
            await asyncio.sleep(0.02)


async def test_a_backlog_asks_for_workers_until_the_accounts_are_held(valkey: redis.Redis) -> None:
    """A queue that fills both limits asks for two workers; held by hand, though it is there, it asks for one."""
    server = f"redis://127.0.0.1:{valkey.connection_pool.connection_kwargs['port']}/0"
    subject = Exporter(load(environment(server, OTPREPORT_METRICS_PORT="0")), interval=0.02)
    port = await subject.start()
    looking = asyncio.create_task(subject.run())
    client = admin(valkey)
    try:
        assert await wanted(port) is None
        await becomes(port, 1)
        for account in ACCOUNTS:
            client.lpush(f"otpreport.{account}", *["x"] * BACKLOG)
        await becomes(port, 2)
        for account in ACCOUNTS:
            client.hset(Keys("").account(account), "state", "held")
        await becomes(port, 1)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await subject.stop()
