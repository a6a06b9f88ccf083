"""One worker's asyncio half at work: real queue, admission and report, a twin of the network, no Celery."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from providers import Answer, Result, SignedRequest
from tasks.accounts.reach import Reach, RouteHealth
from tasks.accounts.states import State, States
from tasks.dead_letters.keep import Bounds, Keeper, ignore
from tasks.delivery import Delivery, Held
from tasks.limiter.admission import Admission, RateGroup
from tasks.limiter.clock import RedisClock
from tasks.queue.breaker import Calls
from tasks.queue.queue import Queue, Recovered
from tasks.report import ActiveAccount, Report
from tasks.retry import Policy
from tasks.settlement import Bury, Finish, Settlement
from tasks.wall import WallClock
from tests.support.queues import Fleet
from tests.support.report_twins import AsyncHttp, Observer, Provider, says
from worker.engine import Engine, Limits

QUICK = Policy(max_attempts=4, base=0.01, cap=0.05, throttled_delay=0.05)
DEADLINE = 30.0

Reply = Result | Exception


@dataclass
class Network(AsyncHttp):
    """All providers: what each message id is answered, one reply after another; then `delivered`."""

    plan: dict[str, list[Reply]] = field(default_factory=dict[str, list[Reply]])
    silent: set[str] = field(default_factory=set[str])
    """Accounts whose provider never answers."""
    sent: list[tuple[str, str, float]] = field(default_factory=list[tuple[str, str, float]])
    """Account, message id and time of every request."""
    on_send: Callable[[str], None] = lambda message_id: None

    async def send(self, request: SignedRequest, send_by: float, /) -> Answer:
        """Answer as planned."""
        account = (urlsplit(request.url).hostname or "").removesuffix(".example")
        message_id = request.body.decode()
        self.sent.append((account, message_id, time.monotonic()))
        self.on_send(message_id)
        if account in self.silent or message_id in self.silent:
            await asyncio.get_running_loop().create_future()
        replies = self.plan.get(message_id)
        reply = replies.pop(0) if replies else Result.DELIVERED
        if isinstance(reply, Exception):
            raise reply
        return says(reply)

    @property
    def ids(self) -> list[str]:
        """The message ids in the order they were sent."""
        return [message_id for _, message_id, _ in self.sent]


@dataclass
class EngineMonitor:
    """Everything an engine tells."""

    endings: Counter[str] = field(default_factory=Counter[str])
    lost_tags: list[str] = field(default_factory=list[str])
    failures: list[Exception] = field(default_factory=list[Exception])
    redis_errors: list[RedisError | OSError] = field(default_factory=list[RedisError | OSError])
    broken: set[str] = field(default_factory=set[str])
    """What was said of keys that can't be used."""
    taken_back: int = 0
    orphans: int = 0
    seen: Mapping[str, State] = field(default_factory=dict[str, State])
    rounds: int = 0
    left: dict[str, RouteHealth] = field(default_factory=dict[str, RouteHealth])

    def ended(self, held: Held, settlement: Settlement) -> None:
        """Count how an event ended."""
        del held
        match settlement:
            case Finish(ending):
                self.endings[ending] += 1
            case Bury(reason):
                self.endings[reason] += 1
            case _:
                self.endings["again"] += 1

    def lost(self, held: Held) -> None:
        """Note a lost lease."""
        self.lost_tags.append(held.tag)

    def failed(self, delivery: Delivery, error: Exception) -> None:
        """Note a fault of ours."""
        del delivery
        self.failures.append(error)

    def redis(self, error: RedisError | OSError | None) -> None:
        """Note that Redis was away."""
        if error is not None:
            self.redis_errors.append(error)

    def faults(self, faults: Sequence[str]) -> None:
        """Note keys that can't be used."""
        self.broken.update(faults)

    def recovered(self, found: Recovered) -> None:
        """Count what was found."""
        self.taken_back += found.taken_back
        self.orphans += found.orphans

    def states(self, states: Mapping[str, State]) -> None:
        """Keep the accounts' states."""
        self.seen = states

    def aside(self, routes: Mapping[str, RouteHealth]) -> None:
        """Keep the accounts that are left to others."""
        self.left = dict(routes)

    def progress(self) -> None:
        """Count a round."""
        self.rounds += 1


class EngineWorker:
    """An engine among real parts; `kill` ends it as a crash would, `stop` as SIGTERM does."""

    def __init__(
        self,
        fleet: Fleet,
        network: Network | None = None,
        *,
        worker: str = "w1",
        rates: Mapping[str, int] | None = None,
        groups: Mapping[str, RateGroup] | None = None,
        concurrency: int = 100,
        policy: Policy = QUICK,
        max_age: float = 1e12,
        probe_interval: float = 0.2,
        queue: Queue | None = None,
        hand_over: Callable[[list[Delivery]], None] | None = None,
        provider: type[Provider] = Provider,
        wall: WallClock | None = None,
    ) -> None:
        self.fleet, self.network, self.monitor = fleet, network or Network(), EngineMonitor()
        own = {name: RateGroup(name, rate) for name, rate in (rates or {"tencent": 1000}).items()}
        groups = groups or own
        states = States(fleet.client, fleet.keys, groups, probe_interval=probe_interval)
        self.admission = Admission(
            fleet.client,
            fleet.keys,
            worker,
            groups,
            remembered=fleet.remembered,
            clock=RedisClock(),
            on_error=self.monitor.redis,
            on_faults=self.monitor.faults,
            may_send=lambda: self.engine.may_send,
        )
        nonces, calls = count(), Calls()
        self.reach = Reach()
        report = Report(
            {
                name: ActiveAccount(name, provider(f"https://{name}.example/"), self.network, policy, max_age)
                for name in groups
            },
            admission=self.admission,
            states=states,
            wall=(wall := wall or WallClock()),
            observer=Observer(),
            calls=calls,
            monotonic=time.monotonic,
            jitter=random.random,
            nonce=lambda: str(next(nonces)),
            is_aside=self.reach.is_aside,
        )
        self.queue = queue or fleet.queue(worker, self.monitor.faults)
        self.engine = Engine(
            self.queue,
            report,
            states,
            self.monitor,
            Limits(concurrency, groups),
            calls=calls,
            reach=self.reach,
            hand_over=hand_over or self._start,
            beat=self._beat,
            wall=wall,
            keeper=Keeper(
                fleet.client,
                fleet.keys,
                sorted(groups),
                Bounds(),
                ignore,
                on_faults=self.monitor.faults,
            ),
        )
        self.accounts = tuple(groups)
        self.tasks: list[asyncio.Task[None]] = []

    def _start(self, deliveries: list[Delivery]) -> None:
        self.engine.start(deliveries)

    async def _beat(self) -> None:
        """Count no heartbeat: what hangs on it has tests of its own."""

    async def __aenter__(self) -> EngineWorker:
        self.engine.serve(self.accounts)
        services: list[Callable[[], Coroutine[Any, Any, None]]]
        services = [self.admission.run, self.engine.run, self.engine.maintain]
        self.tasks = [asyncio.create_task(service()) for service in services]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(5.0)

    async def stop(self, grace: float) -> None:
        """End as SIGTERM does; TimeoutError when that hangs."""
        if self.tasks:
            async with asyncio.timeout(grace + 20):
                await self.engine.stop(grace)
            await self.kill()

    async def kill(self) -> None:
        """End without a word to anybody."""
        tasks, self.tasks = self.tasks, []
        pending = {task for task in tasks if not task.done()}
        while pending:  # redis-py may turn a cancellation into an error of its own, which services survive
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.1)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, check: Callable[[], object], *, deadline: float = DEADLINE) -> None:
        """Wait for a state; AssertionError with all that is known when it does not come."""
        end = time.monotonic() + deadline
        while not check():
            for task in self.tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < end, (self.monitor, self.network.sent[-20:])
            await asyncio.sleep(0.01)

    async def ended(self, number: int, *, deadline: float = DEADLINE) -> None:
        """Wait until so many events have ended for good."""
        await self.until(lambda: self._ended() >= number, deadline=deadline)

    def _ended(self) -> int:
        return sum(self.monitor.endings.values()) - self.monitor.endings["again"]
