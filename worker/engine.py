"""The worker's asyncio half: lease events, report each, settle the finished ones."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from tasks.accounts.reach import Reach, RouteHealth
from tasks.accounts.states import State, States
from tasks.dead_letters import write as dead_letter
from tasks.dead_letters.keep import Keeper
from tasks.delivery import Delivery, Dispatched, Held, Leased, NotYet, Undeliverable
from tasks.limiter.admission import HORIZON, TOLERANCE, RateGroup
from tasks.queue.breaker import CallBuckets, Calls
from tasks.queue.queue import SETTLED_AT_ONCE, SETTLED_BYTES, Batch, Queue, Recovered, Room
from tasks.report import How, Report, Reporting, abandon
from tasks.settlement import Bury, Schedule, Settlement, Track
from tasks.wall import WallClock
from worker.quarantine import Quarantine

BUSY = 0.01
"""Minimum seconds between two rounds; each is a call to Redis."""

CALM = 0.05
"""Maximum seconds between two rounds while this worker holds events."""

IDLE = 0.4
"""Seconds between two rounds of an idle worker."""

SHARE, MANY = 10, 8
"""A round aims at this share of CONCURRENCY, and this many events: the faster events are sent, the sooner the next
round starts."""

AWAY = 0.5
"""Seconds until the next call after Redis did not answer."""

AHEAD = 0.1
"""Seconds of an account's rate that a worker leases ahead of its slots."""

STUCK = 1.0
"""Seconds until an event is settled again that could not be, because a key of its account can't be used."""

PARTING = 8.0
"""Seconds that a stopping worker waits for a Redis that is away."""

KEEP = 10.0
"""Seconds between two checks of the limits on dead letters."""

MAINTENANCE = 1.0
"""Seconds between two recoveries of dead workers' events and readings of the accounts' states."""

Ended = tuple[Held, Settlement]


class EngineMonitor(Protocol):
    """Receives the engine's events, for metrics and logs."""

    def ended(self, held: Held, settlement: Settlement) -> None:
        """Note that an event's lease ended, as Redis confirmed."""
        ...

    def lost(self, held: Held) -> None:
        """Note that an event's lease was lost: another worker has it."""
        ...

    def failed(self, delivery: Delivery, error: Exception) -> None:
        """Note that reporting raised, which is a fault of ours."""
        ...

    def redis(self, error: RedisError | OSError | None) -> None:
        """Note that Redis can't be reached, or can again."""
        ...

    def faults(self, faults: Sequence[str]) -> None:
        """Note keys that can't be used, each with the reason."""
        ...

    def recovered(self, found: Recovered) -> None:
        """Note the events recovered from dead workers."""
        ...

    def states(self, states: Mapping[str, State]) -> None:
        """Note the state of every account."""
        ...

    def aside(self, routes: Mapping[str, RouteHealth]) -> None:
        """Note the accounts that are set aside, because this worker can't reach their providers."""
        ...

    def progress(self) -> None:
        """Note that a round of the engine is done."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a worker takes: requests in flight, and each account's rate group."""

    concurrency: int
    groups: Mapping[str, RateGroup]


class Engine:
    """Keep one worker busy; everything here runs in the asyncio thread, except `serve`.

    `beat` is called every second, and before a worker that had lost Redis leases again. `hand_over` passes fresh
    deliveries to Celery's consumer, which returns them through `start`; those without a consumer come back through
    `give_back`.
    """

    def __init__(
        self,
        queue: Queue,
        report: Report,
        states: States,
        monitor: EngineMonitor,
        limits: Limits,
        *,
        calls: Calls,
        reach: Reach,
        hand_over: Callable[[list[Delivery]], None],
        beat: Callable[[], Awaitable[None]],
        wall: WallClock,
        keeper: Keeper,
    ) -> None:
        self._queue = queue
        self._report = report
        self._states = states
        self._monitor = monitor
        self._limits = limits
        self._calls = calls
        self._reach = reach
        self._hand_over = hand_over
        self._beat = beat
        self._wall = wall
        self._keeper = keeper
        self._kept = -math.inf
        self._quarantine = Quarantine()
        self._served: tuple[str, ...] = ()
        self._held: dict[str, Leased] = {}
        self._under_way: dict[str, Delivery] = {}
        """The held events that have not ended: they wait for a slot or for an answer."""
        self._reports: dict[str, Reporting] = {}
        self._all_reported = asyncio.Event()
        self._ended: list[Ended] = []
        self._stuck: list[Ended] = []
        self._try_again = 0.0
        self._unanswered: tuple[int, list[Ended], CallBuckets] | None = None
        self._in_step = True
        self._pause = BUSY
        self._stopping = False
        self._closing = False
        self._closed = asyncio.Event()

    def serve(self, accounts: Collection[str]) -> None:
        """Lease from these accounts' queues from now on; may be called from any thread."""
        self._served = tuple(sorted(accounts))

    @property
    def serves(self) -> tuple[str, ...]:
        """The accounts whose queues it leases from, sorted."""
        return self._served

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return sum([delivery.sending for delivery in self._under_way.values()])

    @property
    def may_send(self) -> int:
        """How many more requests may be under way, those that have their slot among them."""
        if len(self._under_way) <= self._limits.concurrency:
            return self._limits.concurrency  # there are no more
        return self._limits.concurrency - self.in_flight

    @property
    def holds(self) -> int:
        """How many events this worker holds."""
        return len(self._held)

    def start(self, deliveries: Sequence[Delivery]) -> None:
        """Report these deliveries."""
        for delivery in deliveries:
            if delivery.tag in self._under_way and not self._stopping:
                reporting = self._reports[delivery.tag] = Reporting(delivery, self._reported)
                self._report.begin(reporting)

    def give_back(self, *deliveries: Delivery) -> None:
        """Put deliveries without a consumer back into the queue."""
        for delivery in deliveries:
            if delivery.tag in self._under_way:
                self._end(delivery, abandon(delivery, now_ms=_now_ms()))

    async def run(self) -> None:
        """Lease and settle until `stop`."""
        try:
            while not self._closing:
                await self._go_round()
            self.give_back(*self._under_way.values())
            await self._leave()
        finally:
            self._closed.set()

    async def _go_round(self) -> None:
        began = time.monotonic()
        try:
            if not self._in_step:
                await self._step_back_in()
            await self._settle_and_lease()
        except (RedisError, OSError) as error:
            self._monitor.redis(error)
            self._in_step = False
            await asyncio.sleep(AWAY)
            return
        self._monitor.redis(None)
        self._monitor.progress()
        await asyncio.sleep(began + self._pause - time.monotonic())

    async def maintain(self) -> None:
        """Recover dead workers' events, read the accounts' states, and remove old dead letters, until cancelled."""
        while True:
            with contextlib.suppress(RedisError, OSError):  # `run` tells of it
                await self._beat()
            with contextlib.suppress(RedisError, OSError):
                states = await self._states.read()
                self._reach.judge(states)
                self._monitor.states(states)
                self._monitor.aside(dict(self._reach.aside()))
                await self._recover()
                await self._keep()
            await asyncio.sleep(min(MAINTENANCE, self._queue.lease_time / 10))

    async def stop(self, grace: float) -> None:
        """Finish what is under way or has a slot within `grace` seconds, hand back the rest, and end the lease."""
        self.serve(())
        self._stopping = True
        self._abandon(lambda delivery: not self._report.may_go(delivery))
        await self._reports_end(min(grace, HORIZON + TOLERANCE))
        self._abandon(lambda delivery: not delivery.sending)
        await self._reports_end(grace)
        self._abandon(lambda _: True)
        await self._reports_end(None)
        self._closing = True
        await self._closed.wait()

    async def _reports_end(self, timeout: float | None) -> None:  # noqa: ASYNC109 - as asyncio.wait has it
        """Wait for the reports under way."""
        if self._reports:
            self._all_reported.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._all_reported.wait()

    def _abandon(self, which: Callable[[Delivery], bool]) -> None:
        for reporting in list(self._reports.values()):
            if which(reporting.delivery):
                self._report.abandon(reporting, now_ms=_now_ms())

    async def _leave(self) -> None:
        """Settle finished events, retrying while Redis is briefly away; otherwise let the lease expire."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PARTING):
                while not await self._has_left():  # noqa: ASYNC110 - it asks Redis, nobody here could tell
                    await asyncio.sleep(AWAY)

    async def _has_left(self) -> bool:
        try:
            if not self._in_step:
                await self._step_back_in()
            await self._settle()
            await self._queue.leave()
        except (RedisError, OSError) as error:
            self._monitor.redis(RedisError(str(error)))
            self._in_step = False
            return False
        return True

    def _reported(self, delivery: Delivery, how: How) -> None:
        del self._reports[delivery.tag]
        if isinstance(how, Exception):
            how = self._fault(delivery, how)
        if how is None:
            del self._held[delivery.tag], self._under_way[delivery.tag]
            self._monitor.lost(delivery)
        else:
            self._end(delivery, how)
        if not self._reports:
            self._all_reported.set()

    def _fault(self, delivery: Delivery, error: Exception) -> Settlement:
        """Return how an event ends whose report raised; never raises, as others would suffer for it."""
        try:
            self._monitor.failed(delivery, error)
            return self._report.fault(delivery, error)
        except Exception:
            return Schedule(STUCK)

    def _end(self, held: Held, settlement: Settlement) -> None:
        self._under_way.pop(held.tag, None)
        self._ended.append((held, settlement))

    async def _settle_and_lease(self) -> None:
        """Send both calls together, in one round trip; a failure of one does not affect the other."""
        if not (self._ended or self._stuck or self._unanswered):
            await self._lease()
            return
        settling = asyncio.create_task(self._settle())
        for error in await asyncio.gather(settling, self._lease(settling), return_exceptions=True):
            if error is not None:
                raise error

    async def _settle(self) -> None:
        """Settle the events that have ended; a call without an answer is sent again unchanged, and acts once.

        Events that end meanwhile are settled in the next round: with a distant Redis there are always more, and this
        one would never lease.
        """
        if self._stuck and (self._closing or time.monotonic() >= self._try_again):
            self._ended, self._stuck = self._stuck + self._ended, []
        due = len(self._ended)
        while self._unanswered or due > 0:
            if self._unanswered is None:
                ended = self._ended[: _at_once(self._ended)]
                self._unanswered = self._queue.next_call(), ended, self._calls.take()
                del self._ended[: len(ended)]
                due -= len(ended)
            call, batch, calls = self._unanswered
            flags = await self._queue.settle(batch, call, calls)
            self._unanswered = None
            for account in self._reach.learn(calls, self._queue.alone, time.monotonic()):
                self._report.cancel_waiting(account)
            for (held, settlement), settled in zip(batch, flags, strict=True):
                if settled is None:  # it is still ours, and settled later
                    self._stuck.append((held, settlement))
                    self._try_again = time.monotonic() + STUCK
                    continue
                self._held.pop(held.tag, None)
                if settled:
                    self._monitor.ended(held, settlement)
                else:
                    self._monitor.lost(held)

    async def _lease(self, settling: asyncio.Task[None] | None = None) -> None:
        quarantined = self._quarantine.in_force
        solo = self._quarantine.takes_suspects(time.monotonic()) and not self._held
        if quarantined and not self._holds_suspect():
            self._report.cancel_waiting()  # or what waits long for a slot would keep the worker from getting empty
        accounts = self._in_turn()
        waiting = self._waiting()
        wants = dict.fromkeys(accounts, 0) if quarantined else self._wants(accounts, waiting)
        room = self._room(waiting)
        groups = {account: self._limits.groups[account].name for account in accounts}
        batch = await self._queue.lease(wants, room=room, groups=groups, solo=solo)
        if settling is not None and not settling.done():
            await asyncio.wait([settling])  # what was given back may have come again: it is let go of first
        self._wall.see_redis(batch.now_us)
        self._leave_to_others(batch.leased)
        self._take(batch)
        if not quarantined:
            await self._try_aside()
        self._quarantine.observe(
            batch.suspects, time.monotonic(), alone=quarantined and self._holds_suspect()
        )
        if batch.held > len(self._held):
            self._in_step = False
        self._pause = self._until_next(batch, room.free)

    def _until_next(self, batch: Batch, free: int) -> float:
        """Return the seconds until the next round; the minimum if this one filled the worker."""
        if batch.more or len(batch.leased) >= free:
            return BUSY
        share = max(MANY, self._limits.concurrency // SHARE)
        longest = CALM if self._held else IDLE
        return min(longest, max(BUSY, self._pause * min(1.5, share / max(1, len(batch.leased)))))

    def _waiting(self) -> Counter[str]:
        """Return how many events of each account wait for a slot."""
        return Counter([delivery.account for delivery in self._under_way.values() if not delivery.sending])

    def _room(self, waiting: Counter[str]) -> Room:
        """Return how many more events this worker has room for.

        CONCURRENCY bounds those that wait for a slot or an answer, and twice as many are held at most: while some wait
        for Redis to settle them, others can be sent. An account that is served alone needs to leave no room to others:
        as many of its events wait for a slot as are in flight, which is what goes out in the time of an answer.
        """
        served, concurrency = self._served, self._limits.concurrency
        spare = 2 * concurrency - self.holds
        if len(served) == 1:
            in_flight = len(self._under_way) - waiting.total()
            free = min(spare, max(1, concurrency // 4, in_flight) - waiting.total())
            return Room(free, {served[0]: -free})
        of_accounts = Counter([delivery.account for delivery in self._under_way.values()])
        return Room(min(spare, concurrency - len(self._under_way)), of_accounts)

    async def _try_aside(self) -> None:
        """Take one event now and then of an account that is set aside: its provider may be reachable again."""
        for account in self._reach.tries(time.monotonic()):
            free = self._room(self._waiting()).free
            if account in self._served and free > 0:
                self._take(await self._queue.lease({account: 1}, room=Room(free, {})))

    def _holds_suspect(self) -> bool:
        return any(leased.suspect for leased in self._held.values())

    def _in_turn(self) -> tuple[str, ...]:
        """Return the accounts to lease from, rotated each time: free room goes to the first ones."""
        served = self._served
        first = random.randrange(len(served) or 1)  # noqa: S311 - it hides nothing
        turned = served[first:] + served[:first]
        return tuple(account for account in turned if not self._reach.is_aside(account))

    def _wants(self, accounts: Sequence[str], waiting: Counter[str]) -> dict[str, int]:
        """Return how many more events each account's rate group can send soon."""
        groups = self._limits.groups
        of_groups: Counter[str] = Counter()
        for account, number in waiting.items():
            of_groups[groups[account].name] += number
        stuck = {ended.account for ended, _ in self._stuck}
        return {
            account: max(0, groups[account].soon(AHEAD) - of_groups[groups[account].name])
            if account not in stuck
            else 0
            for account in accounts
        }

    def _leave_to_others(self, leased: Sequence[Leased]) -> None:
        """Give back, unread, events of an account that was set aside during the call."""
        aside = {account for account, _ in self._reach.aside()}
        for one in leased if aside else ():
            if one.account in aside and one.tag not in self._held:
                self._held[one.tag] = one
                self._end(one, Schedule(0.0))

    def _take(self, batch: Batch) -> None:
        now_ms = self._wall.earlier_ms()
        fresh: list[Delivery] = []
        for leased in batch.leased:
            if leased.tag in self._held:
                continue  # it was taken from us and is ours again: the delivery under way goes on, alone
            self._held[leased.tag] = leased
            read = self._report.read(leased, now_ms=now_ms)
            if isinstance(read, Delivery):
                self._under_way[leased.tag] = read
                fresh.append(read)
            else:
                self._end(*_unreported(leased, read, now_ms))
        for buried in batch.buried:
            self._monitor.ended(*buried)
        if fresh:
            self._hand_over(fresh)

    async def _step_back_in(self) -> None:
        """Give back events that a lost answer leased to us: they are held in Redis, but we have never seen them."""
        await self._beat()
        for tag in await self._queue.held() - self._held.keys():
            unseen = Leased.unseen(tag)
            self._held[tag] = unseen
            self._end(unseen, Schedule(0.0))
        self._in_step = True

    async def _keep(self) -> None:
        """Remove dead letters beyond the limits."""
        if self._served and time.monotonic() - self._kept >= KEEP:
            self._kept = time.monotonic()
            await self._keeper.keep()

    async def _recover(self) -> None:
        more = bool(self._served)
        while more:
            found = await self._queue.recover(self._served)
            if found.taken_back or found.orphans:
                self._monitor.recovered(found)
            for buried in found.buried:
                self._monitor.ended(*buried)
            more = found.more


def _unreported(leased: Leased, read: NotYet | Dispatched | Undeliverable, now_ms: int) -> Ended:
    """Return how a message ends that is not reported, or not yet."""
    match read:
        case NotYet(delay):
            return leased, Schedule(delay, eta=True)
        case Dispatched(notice, ignored):
            return leased, Track(notice, ignored)
        case Undeliverable(reason, why, event):
            letter = dead_letter.write(leased, leased.history, reason, why, event, now_ms=now_ms)
            return Delivery(leased, event) if event else leased, Bury(reason, letter)


def _at_once(ended: Sequence[Ended]) -> int:
    """Return how many of these fit into one settle call, which is bounded in bytes, too; at least one."""
    size = 0
    for number, (_, settlement) in enumerate(ended[:SETTLED_AT_ONCE]):
        match settlement:
            case Schedule(_, bytes() as record):
                size += len(record)
            case Bury(_, letter):
                size += len(letter)
            case _:
                continue
        if size > SETTLED_BYTES and number:
            return number
    return min(SETTLED_AT_ONCE, len(ended))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
