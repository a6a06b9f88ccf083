"""The one place that builds the worker's objects from the settings."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from config.account import provider_of
from config.logging import log_event
from config.output import dropped
from config.route import DIRECT
from config.settings import Settings, where_set
from config.watch import Watch
from otpreport.address import read
from otpreport.place import place
from otpreport.version import VERSION
from providers.registry import REGISTRY
from tasks.accounts.reach import Reach
from tasks.accounts.states import LONGEST_PAUSE, States
from tasks.dead_letters.keep import Bounds, Keeper
from tasks.dedupe import Remembered
from tasks.fleet.epoch import Heartbeat
from tasks.fleet.presence import Presence
from tasks.keys import Keys
from tasks.limiter.admission import Admission, RateGroups
from tasks.limiter.clock import RedisClock
from tasks.limiter.groups import DerivedGroup, are_forgotten, settle_groups
from tasks.queue.breaker import Breaker, Calls
from tasks.queue.fitness import Unfit
from tasks.queue.queue import Queue
from tasks.queue.queue import now as boot_clock
from tasks.report import ActiveAccount, Report
from tasks.retry import Policy
from tasks.tracking.tracker import NEVER, Negatives, Times, Tracker
from tasks.wall import WallClock
from worker.arrival import FIRST_PAUSE, wait_for_redis
from worker.connect import connect
from worker.credentials import Credentials
from worker.deployment import deployment_of
from worker.descriptors import make_room
from worker.engine import Engine, Limits
from worker.groups import derived, rate_groups, with_groups
from worker.health import HealthServer
from worker.http.client import HttpClient, http_client
from worker.metrics import Metrics
from worker.observer import WorkerObserver

if TYPE_CHECKING:
    from worker.bridge.handover import Bridge

logger = logging.getLogger("otpreport.worker")

PRESENCE_INTERVAL = 1.0
"""Seconds between two announcements of a worker's presence."""

LAG_INTERVAL = 0.1
"""Seconds between two measurements of the loop's lag, while events are held."""

IDLE_LAG_INTERVAL = 1.0
"""The same without events: each measurement wakes the process."""

CANCEL_AGAIN = 0.1
"""Seconds until a service that has not ended is cancelled again."""

FAILED = 1
"""Exit status when a part of the worker raised, so that a supervisor restarts it."""

WRONG = 2
"""Exit status when the settings, or the Redis they name, are wrong."""

REJOIN_TIMEOUT = 3.0
"""Seconds within which workers detect that Redis has lost their groups: they check every second."""

REJOIN_INTERVAL = 0.05
"""Seconds between two checks whether they have."""

STALLED = 15.0
"""Seconds without a round of the loop after which a worker is not ready."""

TIMES = Times()
"""When OTPs close; other ones are for `demo --story`, which has no minutes to spare."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What works on events, built once from the settings with the rate groups in force."""

    groups: RateGroups
    admission: Admission
    http: HttpClient
    engine: Engine
    tracker: Tracker
    heartbeat: Heartbeat
    credentials: Credentials

    def regroup(self, groups: Mapping[str, str]) -> None:
        """Go by these rate groups from now on, as all parts see at once."""
        self.credentials.regroup(groups)
        self.groups.change(rate_groups(self.credentials.running))
        self.admission.regroup(self.groups)


class Runtime:
    """A worker's parts, from `start` to `stop`; both run in the asyncio thread.

    `watch` knows the files that the settings came from; without one the keys never change.
    """

    def __init__(self, settings: Settings, watch: Watch | None = None) -> None:
        self._settings = settings
        self._keys = Keys(settings.key_prefix)
        self._watch = watch
        self._services: list[asyncio.Task[None]] = []
        self._dropped = 0
        self._derived: dict[str, DerivedGroup] = {}
        self._forgotten = False
        self._wall, self._reach = WallClock(), Reach()
        self._parts: Parts | None = None
        """What works on events; there is none until Redis has said which rate groups are in force."""
        self.worker = secrets.token_hex(6)
        self.grace = settings.grace

    async def start(self, bridge: Bridge, accounts: Sequence[str]) -> None:
        """Serve the health endpoints, and start work once Redis answers; lease what a consumer asks for.

        `accounts` are those that will be asked for.
        """
        self._about: dict[str, object] = {
            "version": VERSION,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_ms": time.time_ns() // 1_000_000,
        }
        settings = self._within_descriptors()
        providers = {account.name: account.provider for account in settings.accounts.values()}
        self._metrics = Metrics(providers)
        self._metrics.concurrency.set(settings.concurrency)
        self._observer = WorkerObserver(self._metrics, providers, sample=settings.log_sample)
        self._address = read(settings.redis_url.get_secret_value())
        self._redis = connect(settings.redis_url.get_secret_value())
        self._health = HealthServer(self._metrics.registry, self._not_ready, self._sample)
        port = await self._health.start(settings.metrics_host, settings.metrics_port)
        log_event(
            logger,
            logging.INFO,
            "worker started",
            worker=self.worker,
            version=VERSION,
            metrics_port=port,
            accounts=list(accounts),
        )
        self._beginning = asyncio.create_task(self._begin(bridge), name=self._begin.__qualname__)
        self._beginning.add_done_callback(functools.partial(self._end_if_failed, bridge))

    def _within_descriptors(self) -> Settings:
        """Lower CONCURRENCY to what the limit of open files allows; return the settings in force."""
        settings = self._settings
        hosts = len({account.endpoint for account in settings.accounts.values()})
        found = make_room(settings.concurrency, hosts)
        if found.concurrency < settings.concurrency:
            log_event(
                logger,
                logging.WARNING,
                "concurrency lowered",
                concurrency=found.concurrency,
                wanted=settings.concurrency,
                open_files=found.limit,
                reason="too few open files are allowed: raise the hard limit (ulimit -Hn, LimitNOFILE, ulimits)",
            )
            self._about["wanted"] = settings.concurrency
            self._settings = settings.model_copy(update={"concurrency": found.concurrency})
        return self._settings

    async def _begin(self, bridge: Bridge) -> None:
        """Start work when Redis answers; a Redis that is not fit ends the worker with status 2."""
        unfit = ""
        try:
            await wait_for_redis(self._redis, self._keys, self._observer, self._where(), self._address)
        except Unfit as found:
            unfit = str(found)
        if unfit:
            self._end_unfit(bridge, unfit)
            return
        parts = self._parts = self._build(await self._enter_groups(), bridge)
        bridge.attach_engine(parts.engine, asyncio.get_running_loop())
        self._observer.progress()
        services: dict[str, Coroutine[Any, Any, None]] = {
            "admission.run": parts.admission.run(),
            "engine.run": parts.engine.run(),
            "engine.maintain": parts.engine.maintain(),
            "tracker.run": parts.tracker.run(),
            "credentials.run": parts.credentials.run(),
            "runtime.announce": self._announce(parts),
            "runtime.measure_lag": self._measure_lag(parts.engine),
        }
        for name, service in services.items():
            task = asyncio.create_task(service, name=name)
            task.add_done_callback(functools.partial(self._end_if_failed, bridge))
            self._services.append(task)

    async def _enter_groups(self) -> Settings:
        """Share the limiters of the workers that are there, also those that know an account by another key.

        Return the settings with these groups.
        """
        wanted = derived(self._settings)
        self._derived = {one.account: one for one in wanted}
        while True:
            try:
                await self._let_others_enter_first()
                groups = await self._settle(wanted)
            except (RedisError, OSError) as error:
                self._observer.redis(error)
                await asyncio.sleep(FIRST_PAUSE)
            else:
                break
        for one in wanted:
            if groups[one.account] != one.group:
                log_event(
                    logger,
                    logging.INFO,
                    "rate group kept",
                    account=one.account,
                    group=groups[one.account],
                    of_key=one.group,
                )
        return with_groups(self._settings, groups)

    async def _let_others_enter_first(self) -> None:
        """Wait briefly if Redis has lost its groups, so that the running workers enter theirs: one limiter, not two."""
        end = time.monotonic() + REJOIN_TIMEOUT
        while (  # noqa: ASYNC110 - it asks Redis, nobody here could tell
            self._derived and time.monotonic() < end and await are_forgotten(self._redis, self._keys)
        ):
            await asyncio.sleep(REJOIN_INTERVAL)

    async def _settle(self, wanted: Iterable[DerivedGroup]) -> dict[str, str]:
        """Enter the groups derived from the keys in Redis, and return those in force."""
        listed = list(wanted)
        self._derived |= {one.account: one for one in listed}
        return await settle_groups(self._redis, self._keys, listed)

    async def _beat(self, parts: Parts) -> None:
        """Send the heartbeat; if Redis has lost data, log it and enter the groups again."""
        loss = await parts.heartbeat.beat(self._observer.operator_states)
        self._observer.clock(self._wall.redis_ahead)
        if loss is not None:
            self._observer.memory_lost(loss)
            self._forgotten = True
        if self._forgotten:
            await self._enter_groups_again(parts)
            self._forgotten = False

    async def _enter_groups_again(self, parts: Parts) -> None:
        """Enter the groups this worker uses, or adopt those that others have entered since: one limiter, not two."""
        used = {name: group.name for name, group in parts.groups.items()}
        groups = await self._settle(replace(one, used=used[one.account]) for one in self._derived.values())
        if any(used[account] != group for account, group in groups.items()):
            parts.regroup(groups)

    def _build(self, settings: Settings, bridge: Bridge) -> Parts:
        """Build what works on events, from the settings with the rate groups in force."""
        keys, groups = self._keys, RateGroups(rate_groups(settings))
        remembered = Remembered(settings.dedupe_ttl)
        states = States(self._redis, keys, groups)
        breaker = Breaker(settings.breaker_failures, settings.breaker_calls, settings.breaker_slow)
        calls = Calls(breaker.slow)
        queue = Queue(
            self._redis,
            keys,
            self.worker,
            lease=settings.lease,
            remembered=remembered,
            breaker=breaker,
            refused_run=settings.refused_run,
            on_faults=self._observer.faults,
            longest_wait=max(settings.retry_cap, LONGEST_PAUSE),
            tracked=lambda: states.tracked,
        )
        is_limited = any(group.in_flight is not None for group in groups.values())
        http = http_client(
            settings.http_engine,
            connections=settings.concurrency,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            may_send=(lambda: queue.holds() and admission.awake) if is_limited else queue.holds,
        )
        admission = Admission(
            self._redis,
            keys,
            self.worker,
            groups,
            remembered=remembered,
            clock=RedisClock(),
            on_error=self._observer.redis,
            on_faults=self._observer.faults,
            may_send=lambda: engine.may_send,
            longest=settings.connect_timeout + settings.read_timeout,
            boot=boot_clock,
        )
        report = Report(
            _accounts(settings, http),
            admission=admission,
            states=states,
            wall=self._wall,
            observer=self._observer,
            calls=calls,
            monotonic=time.monotonic,
            jitter=random.random,
            nonce=lambda: secrets.token_hex(16),
            is_aside=self._reach.is_aside,
        )
        engine = Engine(
            queue,
            report,
            states,
            self._observer,
            Limits(settings.concurrency, groups),
            calls=calls,
            reach=self._reach,
            hand_over=bridge.hand_over,
            beat=lambda: self._beat(parts),
            wall=self._wall,
            keeper=Keeper(
                self._redis,
                keys,
                sorted(settings.accounts),
                Bounds(settings.dead_keep_age, settings.dead_keep_count),
                self._observer.removed,
                on_faults=self._observer.faults,
            ),
        )
        tracker = Tracker(
            self._redis,
            keys,
            _negatives(settings),
            lambda: states.tracked.intersection(engine.serves),
            remembered=remembered,
            times=TIMES,
            on_faults=self._observer.faults,
        )
        credentials = Credentials(
            settings, self._watch, report, self._settle, states.probe_now, self._metrics
        )
        parts = Parts(groups, admission, http, engine, tracker, Heartbeat(self._redis, keys), credentials)
        return parts

    async def stop(self, grace: float) -> None:
        """Finish or hand back held events within `grace` seconds, then close everything."""
        holds = self._parts.engine.holds if self._parts else 0
        log_event(logger, logging.INFO, "worker stops", worker=self.worker, holds=holds)
        await _cancel([self._beginning])
        if self._parts:
            await self._parts.engine.stop(grace)
        await _cancel(self._services)
        if self._parts:
            await self._parts.admission.leave()
        await self._health.stop()
        if self._parts:
            await self._parts.http.close()
        await self._redis.aclose()
        log_event(logger, logging.INFO, "worker stopped", worker=self.worker)

    def _not_ready(self) -> str | None:
        """Return why the worker is not ready; None if it is."""
        if self._observer.redis_away:
            return self._observer.redis_away
        if not self._parts:
            return "redis has not answered yet"
        now = time.monotonic()
        silent = now - self._observer.last_progress
        if silent > STALLED:
            return f"no progress for {silent:.0f} s"
        return self._reach.fault(now)

    def _sample(self) -> None:
        if self._parts:
            self._metrics.inflight.set(self._parts.engine.in_flight)
        for account, gauge in self._metrics.offset.items():
            gauge.set(self._wall.offset(account))
        lines, self._dropped = dropped() - self._dropped, dropped()
        self._metrics.log_dropped.inc(lines)

    async def _announce(self, parts: Parts) -> None:
        """Announce this worker's presence until cancelled; an outage of Redis is logged elsewhere."""
        presence = Presence(self._redis, self._keys, self.worker, self._observer.last_errors)
        announced = parts.credentials.running
        deployment = deployment_of(announced)
        while True:
            with contextlib.suppress(RedisError, OSError):
                now: dict[str, object] = {
                    "in_flight": parts.engine.in_flight,
                    "serves": parts.engine.serves,
                    "concurrency": self._settings.concurrency,
                    "aside": {account: way.message for account, way in self._reach.aside()},
                    "redis_ahead": round(self._wall.redis_ahead),
                }
                running = parts.credentials.running
                if running is not announced:
                    announced, deployment = running, deployment_of(running)
                await presence.announce(self._about | now, deployment)
                self._observer.differences(presence.differences)
            await asyncio.sleep(PRESENCE_INTERVAL)

    def _end_if_failed(self, bridge: Bridge, service: asyncio.Task[None]) -> None:
        """End the worker when a service raised: half a worker would keep its leases and do nothing with them."""
        if service.cancelled() or (error := service.exception()) is None:
            return
        if isinstance(error, Unfit):
            self._end_unfit(bridge, str(error))
            return
        log_event(logger, logging.CRITICAL, "service failed", service=service.get_name(), error=repr(error))
        bridge.end_worker(FAILED)

    def _end_unfit(self, bridge: Bridge, reason: str) -> None:
        log_event(logger, logging.CRITICAL, "redis is not fit", **self._where(), reason=reason)
        bridge.end_worker(WRONG)

    def _where(self) -> dict[str, str]:
        """Return Redis' address and where it is set, for the log."""
        return {
            "redis": place(self._settings.redis_url.get_secret_value()),
            "setting": where_set("redis_url"),
        }

    async def _measure_lag(self, engine: Engine) -> None:
        """Keep the longest delay of the last second, until cancelled."""
        while True:
            worst, end = 0.0, time.monotonic() + 1.0
            while (began := time.monotonic()) < end:
                interval = LAG_INTERVAL if engine.holds else IDLE_LAG_INTERVAL
                await asyncio.sleep(interval)
                worst = max(worst, time.monotonic() - began - interval)
            self._metrics.lag.set(worst)


async def _cancel(services: Sequence[asyncio.Task[None]]) -> None:
    """Cancel services until they end: redis-py may turn a cancellation into its own error, which they survive."""
    pending = {service for service in services if not service.done()}
    while pending:
        for service in pending:
            service.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN)
    await asyncio.gather(*services, return_exceptions=True)


def _accounts(settings: Settings, http: HttpClient) -> dict[str, ActiveAccount]:
    """Return the configured accounts in the form that Report takes; those of one route share their connections."""
    routes = {account.route for account in settings.accounts.values()}
    by = {route: http if route == DIRECT else http.by(route) for route in routes}
    return {
        account.name: ActiveAccount(
            name=account.name,
            provider=provider_of(account),
            http=by[account.route],
            policy=Policy(account.max_attempts, settings.retry_base, settings.retry_cap),
            max_age=account.max_age,
            from_sending=REGISTRY[account.provider].deadline is not None,
            automatic=account.unverified == "report",
        )
        for account in settings.accounts.values()
    }


def _negatives(settings: Settings) -> dict[str, Negatives]:
    """Return which accounts report OTPs that were not verified."""
    return {
        account.name: Negatives.at(account.rate_limit, REGISTRY[account.provider].deadline)
        if account.unverified == "report" and REGISTRY[account.provider].unverified == "reported"
        else NEVER
        for account in settings.accounts.values()
    }
