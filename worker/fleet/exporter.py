"""The exporter: it reads Redis every second, and serves the fleet's metrics and the status page."""

from __future__ import annotations

import asyncio
import logging
import signal
import time

from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError

from config.logging import configure, log_event
from config.output import take_over
from config.settings import Settings
from tasks.fleet.epoch import Memory
from tasks.fleet.workforce import Workforce
from tasks.keys import Keys
from tasks.keyspace import find_queues
from worker.fleet.client import NO_ACCOUNTS, connect, refused
from worker.fleet.metrics import FleetCollector
from worker.fleet.page import StatusPage
from worker.fleet.record import away, record
from worker.fleet.redis_memory import read_memory
from worker.fleet.status import FleetReader, FleetStatus
from worker.groups import in_force, rate_groups
from worker.health import HealthServer
from worker.redis_fault import RedisFault

logger = logging.getLogger("otpreport.exporter")

INTERVAL = 1.0
"""Seconds between two snapshots."""

SCAN_INTERVAL = 30.0
"""Seconds between two scans of the whole database for unserved queues and regrouped accounts."""


class Exporter:
    """Read Redis every second and serve the result; `run` ends when cancelled."""

    def __init__(
        self, settings: Settings, *, interval: float = INTERVAL, scan_interval: float = SCAN_INTERVAL
    ) -> None:
        self._settings = settings
        self._client = connect(settings)
        self._keys = Keys(settings.key_prefix)
        self._page = StatusPage(settings.page_hosts)
        self._collector = FleetCollector(settings.accounts)
        self._group(settings)
        self._interval, self._scan_interval = interval, scan_interval
        self._first_logged = False
        self._seen = Memory()
        self._away_ms: int | None = None
        self._fault = "redis is unreachable"
        registry = CollectorRegistry()
        registry.register(self._collector)
        self._server = HealthServer(registry, self._not_ready, lambda: None, self._page.routes())

    def _group(self, settings: Settings) -> None:
        """Use the rate groups of these settings from now on."""
        self._grouped = settings
        self._reader = FleetReader(self._client, settings)
        self._workforce = Workforce(
            rate_groups(settings), concurrency=settings.concurrency, pace=settings.worker_pace
        )
        self._collector.accounts = settings.accounts

    async def _regroup(self) -> None:
        """Adopt the rate groups that the workers use; `redis.RedisError` if Redis is unreachable."""
        found = await asyncio.to_thread(in_force, self._settings, self._client)
        if found.accounts and found.accounts != self._grouped.accounts:
            self._group(found)

    async def start(self) -> int:
        """Serve at the configured address and port, or the next port that is free; return it."""
        await self._read()
        port = await self._server.start(self._settings.metrics_host, self._settings.exporter_port)
        log_event(logger, logging.INFO, "exporter started", metrics_port=port)
        wanted = self._settings.exporter_port
        # whoever scrapes the configured port gets the metrics of another process
        if wanted and port != wanted:
            log_event(logger, logging.WARNING, "metrics port in use", wanted=wanted, metrics_port=port)
        return port

    async def run(self) -> None:
        """Refresh until cancelled."""
        searched = -self._scan_interval
        while True:
            await self._read()
            if self._collector.snapshot is not None and time.monotonic() - searched >= self._scan_interval:
                await self._search()
                searched = time.monotonic()
            await asyncio.sleep(self._interval)

    async def stop(self) -> None:
        """Stop serving."""
        await self._server.stop()
        self._client.connection_pool.disconnect()  # a client does not close a pool that it was given

    async def _read(self) -> None:
        """Read the fleet; an outage of Redis is logged at its start and end."""
        was_up = self._collector.snapshot is not None
        try:
            if not was_up:
                await self._regroup()
            fleet = await asyncio.to_thread(self._reader.read, self._collector.queues)
            self._collector.snapshot = snapshot = fleet.snapshot
            self._collector.needed = self._workforce.needed(snapshot)
            self._collector.memory = await asyncio.to_thread(read_memory, self._client)
            self._compare(fleet)
        except RedisError as error:
            self._collector.snapshot = self._collector.queues = None
            await self._show_away(error)
            fault = RedisFault.of(error)
            self._fault = fault.sentence
            if was_up or not self._first_logged:
                log_event(logger, logging.WARNING, fault.event, reason=fault.reason)
        else:
            self._away_ms = None
            self._page.show(record(fleet), up=True)
            if not was_up and self._first_logged:
                log_event(logger, logging.INFO, "redis reachable again")
        self._first_logged = True

    def _compare(self, fleet: FleetStatus) -> None:
        """Also detect data loss in Redis: there may be no worker to detect it."""
        self._collector.differences = fleet.differences
        seen, self._seen = self._seen, fleet.memory
        if fleet.memory.lacks(seen):
            self._collector.lost_at = fleet.now_ms / 1000
            log_event(logger, logging.ERROR, "redis lost data", epoch=seen.epoch, count=seen.count)
        if (loss := fleet.memory.loss) is not None:
            self._collector.lost_at = max(self._collector.lost_at, loss.at_ms / 1000)

    async def _show_away(self, error: RedisError) -> None:
        if self._away_ms is None:
            self._away_ms = time.time_ns() // 1_000_000
        reason = await asyncio.to_thread(refused, self._settings, error)
        self._page.show(away(self._reader.redis, reason, self._away_ms), up=False)

    async def _search(self) -> None:
        try:
            await self._regroup()
            if accounts := self._grouped.accounts:
                self._collector.queues = await asyncio.to_thread(
                    find_queues, self._client, self._keys, accounts
                )
            else:
                log_event(logger, logging.WARNING, "no account known", reason=NO_ACCOUNTS)
        except RedisError as error:
            log_event(logger, logging.WARNING, "queue scan failed", reason=str(error))

    def _not_ready(self) -> str | None:
        return None if self._collector.snapshot is not None else self._fault


def main(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT."""
    take_over()
    configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(_serve(settings))
    except OSError as error:
        log_event(
            logger,
            logging.CRITICAL,
            "exporter can't listen",
            host=settings.metrics_host,
            port=settings.exporter_port,
            reason=str(error),
        )
        return 2
    return 0


async def _serve(settings: Settings) -> None:
    exporter = Exporter(settings)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await exporter.start()
    stopping = asyncio.create_task(stopped.wait())
    running = asyncio.create_task(exporter.run())
    await asyncio.wait((stopping, running), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await exporter.stop()
    log_event(logger, logging.INFO, "exporter stopped")
