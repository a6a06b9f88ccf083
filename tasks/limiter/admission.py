"""The rate limiter: decides whether and when a leased event may be sent. Nothing is sent without its slot."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import random
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from tasks.dedupe import Remembered
from tasks.delivery import Delivery
from tasks.keys import Keys
from tasks.limiter.clock import RedisClock
from tasks.limiter.permits import SLACK, Permits
from tasks.script import Script, ignore
from tasks.shared import NO_PERMIT, NO_SLOT, REFUSALS

if TYPE_CHECKING:
    from redis.asyncio import Redis

HORIZON = 0.05
"""Seconds that a slot may lie in the future."""

LEAD = HORIZON / 2
"""Seconds of the horizon, at most, that may make up for a distant Redis: a nearer slot would pass on its way here."""

TOLERANCE = 0.01
"""Seconds after its slot that an event may still be sent; after that the slot is lost."""

TURN = 0.02
"""Seconds between two calls for a line without free slots; one call may return this much worth of slots."""

LONG_TURN = 0.035
"""Seconds until the next call after one that returned fewer than FEW slots, as the rate is low, or shared by many
workers; or all slots of a TURN, as nobody else asks. Two round trips are subtracted, or slots would pass in between."""

FULL = 0.004
"""Seconds until a worker at its limit of requests in flight checks again."""

FEW = 4

AWAY = 0.2
"""Seconds until the next call after Redis did not answer."""

LEAVING = 1.0
"""Seconds that a worker which leaves waits for Redis to take its permits back; else they end by themselves."""

AT_ONCE = 256
"""Events of one line asked for in one call, at most."""

MANY = 500
"""Requests/s from which independent delays of arrivals even out within a second."""

TICK = 0.008
"""Seconds: slots of a rate of MANY and more are served on a grid of this width, so that 1000/s do not wake the loop
1000 times a second; an event may be sent up to this much before its slot."""


class Refusal(enum.IntEnum):
    """Why an event may not be sent.

    Another worker leases it by now; it was delivered; its account is not running; another event with its message id is
    in flight; a key of its account can't be used.
    """

    LEASE_LOST = REFUSALS["LEASE_LOST"]
    DUPLICATE = REFUSALS["DUPLICATE"]
    NOT_RUNNING = REFUSALS["NOT_RUNNING"]
    COPY_IN_FLIGHT = REFUSALS["COPY_IN_FLIGHT"]
    KEY_UNUSABLE = REFUSALS["KEY_UNUSABLE"]


@dataclass(frozen=True, slots=True)
class RateGroup:
    """Accounts that share one limit at the provider, in requests/s; and one of requests in flight, if there is one."""

    name: str
    limit: int
    in_flight: int | None = None

    @property
    def headroom(self) -> float:
        """Seconds by which arrivals may be late without breaking the limit in any second.

        From MANY on delays even out: 40 ms cover 50 ms of jitter and what a busy worker adds. At a low
        rate they don't: it is the jitter plus 1.5 ms from the slot to the socket.
        """
        return 0.04 if self.limit >= MANY else 0.0515

    @property
    def pace(self) -> float:
        """Slots per second: the limit less the headroom."""
        return self.limit / (1 + self.headroom)

    def soon(self, seconds: float) -> int:
        """Return how many events to hold that may be sent within a time; with a limit in flight twice that, at most."""
        number = round(self.pace * seconds)
        return max(2, number if self.in_flight is None else min(number, 2 * self.in_flight))

    def wake_at(self, slot: float) -> float:
        """Return when to wake for a slot: on the grid before it at a high rate, else at the slot."""
        return math.floor(slot / TICK) * TICK if self.limit >= MANY else slot


class RateGroups(Mapping[str, RateGroup]):
    """The rate group of each account, one object for all that go by it; `change` replaces them as a whole."""

    def __init__(self, groups: Mapping[str, RateGroup]) -> None:
        self._groups = groups

    def change(self, groups: Mapping[str, RateGroup]) -> None:
        """Let these be the groups from now on."""
        self._groups = groups

    def __getitem__(self, account: str) -> RateGroup:
        return self._groups[account]

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


@dataclass(slots=True)  # plain: one is made for each report
class Slot:
    """When an event may be sent; after `send_by` (local monotonic seconds) its request must not leave.

    With a permit, who takes the slot says when the request is over.
    """

    send_by: float
    permit: Permits | None = None


Waiting = tuple[Delivery, asyncio.Future[Slot | Refusal]]
Going = tuple["Line", Waiting, Slot]


@dataclass(slots=True, eq=False)
class Line:
    """The deliveries of one rate group that wait for a slot, first come, first served."""

    group: RateGroup
    waiting: deque[Waiting] = field(default_factory=deque)
    not_before: float = 0.0
    likely: int = AT_ONCE
    """How many slots to request in one call; asking for slots that other workers take only loads Redis."""
    ahead: int = 0
    """How many have a slot in the future."""
    full: bool = False
    """Whether those kept the line from asking for more."""
    permits: Permits | None = None
    """None: the group has no limit of requests in flight."""

    def take(self, now: float, at_once: int, free: int = AT_ONCE) -> list[Waiting]:
        """Take as many deliveries as the horizon can have slots; none before the line may ask again.

        At most `at_once` may have a slot at a time, because a worker can't serve more, and at most `free` may be sent.
        """
        self.full = False
        most = min(len(self.waiting), int(self.group.pace * HORIZON) + 2, self.likely)
        if now < self.not_before:
            if self.permits is None or not self.permits.may_ask:
                return []
            most = min(len(self.waiting), self.permits.free)
        self.full = self.ahead > 0 and most > at_once - self.ahead
        if most > free:
            self.not_before = now + FULL
        return [self.waiting.popleft() for _ in range(min(most, at_once - self.ahead, free))]

    def note(self, was_open: int, answers: Sequence[int], now: float) -> None:
        """Note what Redis counts as open after a call: so many before it, and one for each slot."""
        if self.permits is not None:
            granted = sum(answer >= 0 for answer in answers)
            short = NO_PERMIT in answers or now < self.not_before
            self.permits.note(was_open + granted, now, short=short)

    def unheard(self, report_at: float) -> None:
        """Note that a call had no answer."""
        if self.permits is not None:
            self.permits.unheard(report_at)

    def learn(self, answers: Collection[int], now: float, long_turn: float) -> None:
        """Ask for twice as many the next time; after too few slots ask later, for a quarter more than may come."""
        waits = [NO_SLOT - answer for answer in answers if answer <= NO_SLOT]
        if not waits:
            self.likely = min(AT_ONCE, 2 * self.likely)
            return
        granted = sum(answer >= 0 for answer in answers)
        alone = granted >= max(FEW, self.group.pace * TURN)
        expected = max(granted, round(self.group.pace * long_turn)) if alone else granted
        self.likely = expected + expected // 4 + 2
        turn = long_turn if alone or granted < FEW else TURN
        # not all workers at the moment of the next slot: the nearest one would get it each time
        spread = random.random() * TURN  # noqa: S311 - it hides nothing
        self.not_before = now + max(turn, min(waits) / 1000 + spread)


class Admission:
    """Ask Redis for many events in one call; hand each its slot, or the reason why not.

    `on_error` hears of each failed call; the events then wait and are asked for again. Nothing goes without a slot.
    `on_faults` hears of keys that can't be used. `may_send` says how many more may be under way, those that have their
    slot among them.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        worker: str,
        groups: Mapping[str, RateGroup],
        *,
        remembered: Remembered,
        clock: RedisClock,
        on_error: Callable[[RedisError], None],
        on_faults: Callable[[Sequence[str]], None] = ignore,
        may_send: Callable[[], int] = lambda: AT_ONCE,
        longest: float = 15.0,
        boot: Callable[[], float] = RedisClock.monotonic,
    ) -> None:
        """`longest`: seconds that a request can be open at most; `boot`: a clock that goes on in sleep."""
        self._redis = redis
        self._worker = worker
        self._keys = [keys.held(worker), keys.claims]
        self._prefix = keys.prefix
        self._remembered = remembered
        self._clock = clock
        self._on_error = on_error
        self._on_faults = on_faults
        self._may_send = may_send
        self._script = Script("limiter/admit.lua")
        self._lines: list[Line] = []
        self._limited: list[Line] = []
        """The lines with permits."""
        self._permits_of: dict[str, Permits] = {}
        """Those of each group, also of one of before that has requests open."""
        self._longest = longest
        self._boot = boot
        self._calls = 0
        self._slept = 0.0
        self._wake = asyncio.Event()
        self.regroup(groups)
        self._late_until = 0.0
        self._cancelled: set[str | None] = set()
        """The accounts whose waiting was cancelled during the call to Redis, None for all."""
        self._given: set[str] = set()
        """The tags whose slot is in the future, or has just come."""
        self.at_once = AT_ONCE
        """How many events of a line to ask for in one call: fewer while this worker is late for its slots."""

    def regroup(self, groups: Mapping[str, RateGroup]) -> None:
        """Use other groups for the accounts; deliveries that wait for a slot move to their new line.

        Requests under way keep the permits of their old group: a new one gets none before these have had their time.
        """
        waiting = [entry for line in self._lines for entry in line.waiting]
        lines = {group.name: Line(group) for group in groups.values()}
        permits = {name: one for name, one in self._permits_of.items() if one.open or name in lines}
        still_open = any(one.open for one in permits.values())
        for name, line in lines.items():
            if line.group.in_flight is not None:
                line.permits = permits.get(name) or Permits(line.group.in_flight, self._permit_ended)
                line.permits.most = line.group.in_flight
                if still_open and name not in permits:
                    line.permits.not_before = self._clock.monotonic() + self._longest + SLACK
                line.not_before = line.permits.not_before
                permits[name] = line.permits
        self._permits_of = permits
        self._lines = list(lines.values())
        self._limited = [line for line in self._lines if line.permits is not None]
        self._line_of = {account: lines[group.name] for account, group in groups.items()}
        for entry in waiting:
            self._line_of[entry[0].account].waiting.append(entry)

    async def enter(self, delivery: Delivery) -> Slot | Refusal:
        """Wait for the delivery's slot and return it at that moment; or return why it may not go.

        A worker that stalls between the slot and this moment has lost it, and is the first to get another one.
        """
        late = False
        while True:
            future: asyncio.Future[Slot | Refusal] = asyncio.get_running_loop().create_future()
            if late:
                self._put_back((delivery, future))
            else:
                self._line_of[delivery.account].waiting.append((delivery, future))
            self._wake.set()
            try:
                entered = await future
            except asyncio.CancelledError:
                _give_up(future)
                raise
            finally:
                self._given.discard(delivery.tag)
            if isinstance(entered, Refusal) or self._clock.monotonic() <= entered.send_by:
                return entered
            _give_up(future)
            self._was_late()
            late = True

    @property
    def awake(self) -> bool:
        """Whether the machine has not slept since this worker asked for permits: others may have them since."""
        return self._time_slept() - self._slept < SLACK / 2

    def _time_slept(self) -> float:
        return self._boot() - self._clock.monotonic()

    def has_slot(self, delivery: Delivery) -> bool:
        """Whether the delivery waits for a slot that it was given already."""
        return delivery.tag in self._given

    def cancel_waiting(self, account: str | None = None) -> None:
        """Stop the waiting of all deliveries without a slot, or of those of one account."""
        self._cancelled.add(account)
        for line in self._lines:
            for _ in range(len(line.waiting)):
                delivery, future = line.waiting.popleft()
                if account not in {None, delivery.account}:
                    line.waiting.append((delivery, future))
                elif not future.done():
                    future.set_result(Refusal.NOT_RUNNING)

    def _permit_ended(self) -> None:
        """Look again: an event that waits may have the permit, or Redis has to hear of it."""
        self._wake.set()

    async def leave(self) -> None:
        """Tell Redis what is still open; called once, when `run` has ended, perhaps amid a call."""
        if self._calls:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVING):
                    await self._serve([], self._clock.monotonic(), self._limited)

    async def run(self) -> None:
        """Serve the lines until cancelled."""
        while True:
            asked, free = self._clock.monotonic(), self._may_send() - len(self._given)
            batch: list[tuple[Line, Waiting]] = []
            for line in self._lines:
                entries = line.take(asked, self.at_once, free - len(batch))
                batch += [(line, entry) for entry in entries if not entry[1].done()]
            owing = [line for line in self._limited if line.permits and line.permits.owes(asked)]
            if batch or owing:
                await self._serve(batch, asked, owing)
            else:
                await self._pause(asked)

    def _put_back(self, entry: Waiting) -> None:
        """Put an event that got no slot, or missed it, at the head of its line, which may have changed."""
        self._line_of[entry[0].account].waiting.appendleft(entry)

    def _was_late(self) -> None:
        """Ask for half as many: a worker short of CPU wastes slots that others could use.

        Once for each stall: all the slots that it missed lie within the horizon.
        """
        now = self._clock.monotonic()
        if now >= self._late_until:
            self._late_until = now + HORIZON
            self.at_once = max(1, self.at_once // 2)

    async def _pause(self, now: float) -> None:
        """Wait until a delivery enters, or until a line may ask again."""
        self._wake.clear()
        due = [line.not_before for line in self._lines if line.waiting and not line.full]
        due += [line.permits.report_at for line in self._limited if line.permits and line.permits.free]
        try:
            async with asyncio.timeout(max(0.001, min(due) - now) if due else None):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _serve(
        self, batch: list[tuple[Line, Waiting]], asked: float, owing: Sequence[Line] = ()
    ) -> None:
        """Ask for slots, and tell how many requests are open in the groups where these are limited."""
        self._cancelled.clear()
        lines = list(dict.fromkeys(chain((line for line, _ in batch), owing)))
        was_open = {line: line.permits.open for line in lines if line.permits is not None}
        if was_open:
            self._slept = self._time_slept()
        try:
            reply = await self._script.run(self._redis, self._keys, self._arguments(batch, lines))
        except RedisError as error:
            self._on_error(error)
            for line, entry in reversed(batch):
                self._put_back(entry)
                line.not_before = asked + AWAY
            for line in was_open:
                line.unheard(asked + AWAY)
            return
        now_us = int(reply[0])
        self._clock.observe(now_us, asked, self._clock.monotonic())
        answers = self._answer(batch, reply[1 : 1 + len(batch)], now_us)
        for line, number in was_open.items():
            line.note(number, answers[line], self._clock.monotonic())
        if faults := reply[1 + len(batch) :]:
            self._on_faults([fault.decode(errors="backslashreplace") for fault in faults])

    def _arguments(self, batch: list[tuple[Line, Waiting]], lines: Sequence[Line]) -> list[str | int]:
        numbers = {line: number for number, line in enumerate(lines, 1)}
        arguments: list[str | int] = [
            self._prefix,
            round(HORIZON * 1e6),
            round(min(self._clock.round_trip, LEAD) * 1e6),
            self._remembered.width,
            len(numbers),
        ]
        for line in numbers:
            arguments += (line.group.name, line.group.limit, str(line.group.headroom))
        arguments += self._permits(batch, numbers)
        kinds: dict[tuple[int, str, str], int] = {}
        events: list[str | int] = []
        for line, (delivery, _) in batch:
            kind = (numbers[line], delivery.account, _kind(delivery))
            number = kinds.setdefault(kind, len(kinds) + 1)
            events += (number, delivery.tag, delivery.claim, _members(delivery))
        arguments.append(len(kinds))
        for kind in kinds:
            arguments += kind
        return arguments + events

    def _permits(self, batch: list[tuple[Line, Waiting]], numbers: Mapping[Line, int]) -> list[str | int]:
        """Return admit.lua's arguments about the groups whose requests in flight are limited."""
        limited = [
            (number, line, line.permits) for line, number in numbers.items() if line.permits is not None
        ]
        if not limited:
            return [0]
        self._calls += 1
        arguments: list[str | int] = [
            len(limited),
            self._worker,
            self._calls,
            round((self._longest + SLACK) * 1e6),
        ]
        for number, line, permits in limited:
            wanted = len(line.waiting) + sum(line is one for one, _ in batch)
            arguments += (number, permits.most, permits.open, wanted)
        return arguments

    def _answer(
        self, batch: list[tuple[Line, Waiting]], answers: list[int], now_us: int
    ) -> Mapping[Line, list[int]]:
        """Settle the refused, put those without a slot back to the front, and set the timers for the rest.

        Return the answers of each line.
        """
        now, counted_from = self._clock.monotonic(), self._clock.local(now_us)
        of_line: defaultdict[Line, list[int]] = defaultdict(list)
        slots: defaultdict[float, list[Going]] = defaultdict(list)
        for (line, entry), answer in zip(reversed(batch), reversed(answers), strict=True):
            of_line[line].append(answer)
            delivery, future = entry
            if future.done():
                continue
            if answer >= 0:
                moment = counted_from + answer / 1e6
                if line.permits is not None:
                    line.permits.open += 1
                going = line, entry, Slot(moment + TOLERANCE, line.permits)
                slots[line.group.wake_at(moment)].append(going)
                self._given.add(delivery.tag)
                line.ahead += 1
            elif answer <= NO_SLOT and not self._cancelled & {None, delivery.account}:
                self._put_back(entry)
            else:
                future.set_result(Refusal.NOT_RUNNING if answer <= NO_SLOT else Refusal(answer))
        long_turn = max(TURN, LONG_TURN - 2 * self._clock.round_trip)
        for line, its_answers in of_line.items():
            line.learn(its_answers, now, long_turn)
        loop = asyncio.get_running_loop()
        for moment, due in slots.items():
            loop.call_at(moment, self._go, due)
        return of_line

    def _go(self, due: list[Going]) -> None:
        """Release the events of one tick; one that is late by now asks for another slot (`enter`)."""
        now = self._clock.monotonic()
        for line, (_, future), slot in due:
            line.ahead -= 1
            if line.full:
                self._wake.set()
            if not future.done():
                future.set_result(slot)
            elif slot.permit is not None:
                slot.permit.end()
        if all(now <= slot.send_by for _, _, slot in due):
            self.at_once = min(AT_ONCE, self.at_once + max(1, len(due) // 4))


def _give_up(future: asyncio.Future[Slot | Refusal]) -> None:
    """Give back the permit of a slot that nobody will use."""
    if future.done() and not future.cancelled():
        slot = future.result()
        if isinstance(slot, Slot) and slot.permit is not None:
            slot.permit.end()


def _kind(delivery: Delivery) -> str:
    """Return admit.lua's code for the kind of event: verified or not, and whether it is a probe."""
    verified = delivery.event.verified
    return ("p" if verified else "q") if delivery.leased.probe else str(int(verified))


def _members(delivery: Delivery) -> str:
    """Return the dedupe members whose presence makes this event a duplicate."""
    if delivery.event.verified:
        return delivery.member
    return f"{delivery.fingerprint.member(verified=True)} {delivery.member}"
