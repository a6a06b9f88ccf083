"""The fleet's metrics, read from Redis; label values come from closed sets."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from config.account import Account
from config.logging import configure, log_event
from config.output import take_over
from config.settings import Settings
from tasks.accounts.states import NAMES
from tasks.fleet.epoch import Memory
from tasks.fleet.snapshot import AccountSnapshot, Snapshot
from tasks.fleet.workforce import Workforce
from tasks.keys import Keys
from tasks.keyspace import Queues, find_queues
from tasks.retry import Reason
from worker.fleet.client import NO_ACCOUNTS, connect, refused
from worker.fleet.otp_metrics import otp_metrics
from worker.fleet.page import StatusPage
from worker.fleet.record import away, record
from worker.fleet.redis_memory import RedisMemory, read_memory
from worker.fleet.status import FleetReader, FleetStatus
from worker.fleet.unserved import unserved
from worker.groups import in_force, rate_groups
from worker.health import HealthServer
from worker.redis_fault import RedisFault

logger = logging.getLogger("otpreport.exporter")

INTERVAL = 1.0
"""Seconds between two snapshots."""

SCAN_INTERVAL = 30.0
"""Seconds between two scans of the whole database for unserved queues and regrouped accounts."""

LabelledValue = tuple[tuple[str, ...], float]


class FleetCollector(Collector):
    """Turn the last snapshot into metrics; without one only `redis_up 0`, never stale figures."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self.accounts = accounts
        self.snapshot: Snapshot | None = None
        self.queues: Queues | None = None
        self.memory: RedisMemory | None = None
        self.needed: int | None = None
        self.lost_at = 0.0
        self.differences: Container[str] = ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; runs in a thread, while the loop may replace the snapshot."""
        snapshot = self.snapshot
        yield _gauge(
            "redis_up",
            "1 if the last query to Redis succeeded, else 0.",
            float(snapshot is not None),
        )
        if snapshot is None:
            return
        yield _gauge("workers", "Live workers: those that hold a lease.", snapshot.workers)
        if (needed := self.needed) is not None:
            text = "Workers that backlog, arrivals and rate limits can keep busy; scale on this."
            yield _gauge("desired_workers", text, needed)
        gap = "Accounting discrepancy: events found in no state or in two. Should be 0."
        yield _gauge("books_gap_events", gap, snapshot.gap)
        text = "When Redis was last found to have lost data (UNIX seconds); 0 never."
        yield _gauge("redis_lost_timestamp_seconds", text, self.lost_at)
        if (queues := self.queues) is not None:
            text = "Events in queues of accounts that are not configured, scanned every 30 s."
            yield _gauge("unserved_queue_events", text, unserved(snapshot, queues).events)
        if (memory := self.memory) is not None:
            text = "Memory used by Redis, and its limit: maxmemory, or the machine's memory."
            rows = (("used",), memory.used), (("limit",), memory.limit)
            yield _labelled("redis_memory_bytes", text, ("kind",), rows)
        yield from self._per_account(tuple(snapshot.configured))

    def _per_account(self, accounts: tuple[AccountSnapshot, ...]) -> Iterator[Metric]:
        yield _labelled(
            "queue_events",
            "Unfinished events: ready in the queue, leased by a worker, or scheduled for a retry or eta.",
            ("account", "state"),
            _queue(accounts),
        )
        ages = (((account.name,), account.oldest_age) for account in accounts)
        yield _labelled(
            "oldest_event_age_seconds",
            "Age of the oldest waiting event since code entry; 0 if none waits.",
            ("account",),
            ages,
        )
        yield _labelled(
            "dead_events",
            "Dead letters, by reason.",
            ("account", "reason"),
            _dead(accounts),
        )
        text = "Approximate memory of the dead letters, from samples."
        yield _labelled("dead_bytes", text, ("account",), _each(accounts, lambda account: account.kept.bytes))
        text = "Dead letters relative to their limits by number and memory; at 1 the oldest are removed."
        shares = (((a.name, b), a.kept_shares.get(b, 0.0)) for a in accounts for b in ("count", "memory"))
        yield _labelled("dead_kept_share_ratio", text, ("account", "bound"), shares)
        text = (
            "Dead letters that reach their maximum age and will be removed within three days or a tenth of "
            "`DEAD_KEEP_AGE`."
        )
        yield _labelled(
            "dead_ending_events", text, ("account",), _each(accounts, lambda account: account.kept.ending)
        )
        text = "Rate limits: configured, allowed by an operator, and effective after throttling."
        yield _labelled("rate_limit_per_second", text, ("account", "kind"), self._rates(accounts))
        text = "Requests in flight of the rate group, with `MAX_IN_FLIGHT`: the limit, and those that may be open."
        yield _labelled("rate_group_requests", text, ("account", "kind"), self._in_flight(accounts))
        text = "Rate group of the account, named after its first account."
        yield _labelled("rate_group_info", text, ("account", "group"), self._groups(accounts))
        text = "Age at which an event expires (`MAX_AGE`)."
        limits = (((account.name,), self.accounts[account.name].max_age) for account in accounts)
        yield _labelled("event_max_age_seconds", text, ("account",), limits)
        text = "1 while live workers differ in the account's provider, endpoint, rate, group, max_age or key."
        differences = (((account.name,), float(account.name in self.differences)) for account in accounts)
        yield _labelled("settings_differ", text, ("account",), differences)
        yield _labelled(
            "account_state",
            "1 for the current state of the account, 0 for the others.",
            ("account", "state"),
            _states(accounts),
        )
        text = "Consecutive refused events, while they stop the account; else 0."
        refused = _each(accounts, lambda account: account.state.refused)
        yield _labelled("refused_run_events", text, ("account",), refused)
        text = "Accounting since Redis was empty: events taken, and their current place or outcome."
        yield _labelled("books_events", text, ("account", "place"), _books(accounts))
        yield from otp_metrics([account.otps for account in accounts if account.otps])

    def _rates(self, accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
        for account in accounts:
            configured = self.accounts[account.name].rate_limit
            yield (account.name, "configured"), configured
            yield (account.name, "allowed"), account.rate.most(configured)
            yield (account.name, "effective"), account.effective_rate(configured)

    def _in_flight(self, accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
        for account in accounts:
            limit = self.accounts[account.name].max_in_flight
            yield (account.name, "limit"), math.inf if limit is None else limit
            yield (account.name, "used"), account.in_flight.open if account.in_flight else 0

    def _groups(self, accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
        firsts: dict[str, str] = {}
        for account in accounts:
            first = firsts.setdefault(self.accounts[account.name].rate_group, account.name)
            yield (account.name, first), 1.0


def _each(
    accounts: Iterable[AccountSnapshot], figure: Callable[[AccountSnapshot], float]
) -> Iterator[LabelledValue]:
    for account in accounts:
        yield (account.name,), figure(account)


def _queue(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        yield (account.name, "ready"), account.ready
        yield (account.name, "leased"), account.leased
        yield (account.name, "scheduled"), account.scheduled


def _dead(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        for reason in Reason:
            yield (account.name, reason.value), account.dead_by_reason.get(reason.value, 0)


def _states(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        for state in NAMES:
            yield (account.name, state), float(state == account.state.name)


def _books(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        for place, events in account.places.items():
            yield (account.name, place), events


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"otpreport_{name}", text, value)


def _labelled(name: str, text: str, labels: tuple[str, ...], rows: Iterable[LabelledValue]) -> Metric:
    family = GaugeMetricFamily(f"otpreport_{name}", text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


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
            self._show_away(error)
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

    def _show_away(self, error: RedisError) -> None:
        if self._away_ms is None:
            self._away_ms = time.time_ns() // 1_000_000
        reason = refused(self._settings, error)
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
