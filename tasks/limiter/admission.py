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

MARGIN = 0.002
"""Seconds by which two calls may be further apart for Redis than for this worker: it asks for their slots, too."""

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

TICK, SOONEST = 0.01, 0.008
"""Seconds: slots of a rate of MANY and more are served on a grid of this width, so that 1000/s do not wake the loop
1000 times a second; an event may be sent up to SOONEST before its slot, or up to the rest after it."""


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
        """Return when to wake for a slot: on the grid at a high rate, up to SOONEST before it, else at the slot."""
        return math.floor((slot + (TICK - SOONEST)) / TICK) * TICK if self.limit >= MANY else slot


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


Then = Callable[[Slot | Refusal], None]
Asked = dict["Line", list[Delivery]]
"""The deliveries of each line that Redis is asked for in one call."""


@dataclass(slots=True, eq=False)
class Line:
    """The deliveries of one rate group that wait for a slot, first come, first served."""

    group: RateGroup
    waiting: deque[Delivery] = field(default_factory=deque)
    not_before: float = 0.0
    likely: int = AT_ONCE
    """How many slots to request in one call; asking for slots that other workers take only loads Redis."""
    asked_at: float = -math.inf
    left_none: bool = False
    """Whether the call of that moment left no slot, and nobody else asks: there are those of the time since."""
    ahead: int = 0
    """How many have a slot in the future."""
    full: bool = False
    """Whether those kept the line from asking for more."""
    permits: Permits | None = None
    """None: the group has no limit of requests in flight."""

    def take(self, now: float, at_once: int, free: int = AT_ONCE) -> list[Delivery]:
        """Take as many deliveries as the horizon can have slots; none before the line may ask again.

        At most `at_once` may have a slot at a time, because a worker can't serve more, and at most `free` may be sent.
        """
        self.full = False
        since = min(HORIZON, now - self.asked_at + MARGIN) if self.left_none else HORIZON
        most = min(len(self.waiting), int(self.group.pace * since) + 2, self.likely)
        if now < self.not_before:
            if self.permits is None or not self.permits.may_ask:
                return []
            most = min(len(self.waiting), self.permits.free)
        self.full = self.ahead > 0 and most > at_once - self.ahead
        if most > free:
            self.not_before = now + FULL
        taken = [self.waiting.popleft() for _ in range(min(most, at_once - self.ahead, free))]
        if taken:
            self.asked_at = now
        return taken

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
            self.likely, self.left_none = min(AT_ONCE, 2 * self.likely), False
            return
        granted = len(answers) - len([answer for answer in answers if answer < 0])
        alone = granted >= max(FEW, self.group.pace * TURN)
        self.left_none = alone
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
        self._paused: asyncio.Future[None] | None = None
        self.regroup(groups)
        self._late_until = 0.0
        self._cancelled: set[str | None] = set()
        """The accounts whose waiting was cancelled during the call to Redis, None for all."""
        self._waiting: dict[str, Then] = {}
        """Who hears of each delivery without a slot, by its tag."""
        self._given: dict[str, Then] = {}
        """The same of those whose slot is in the future."""
        self.at_once = AT_ONCE
        """How many events of a line to ask for in one call: fewer while this worker is late for its slots."""

    def regroup(self, groups: Mapping[str, RateGroup]) -> None:
        """Use other groups for the accounts; deliveries that wait for a slot move to their new line.

        Requests under way keep the permits of their old group: a new one gets none before these have had their time.
        """
        waiting = [delivery for line in self._lines for delivery in line.waiting]
        lines = {group.name: Line(group) for group in groups.values()}
        permits = {name: one for name, one in self._permits_of.items() if one.open or name in lines}
        still_open = any(one.open for one in permits.values())
        for name, line in lines.items():
            if line.group.in_flight is not None:
                line.permits = permits.get(name) or Permits(line.group.in_flight, self._go_on)
                line.permits.most = line.group.in_flight
                if still_open and name not in permits:
                    line.permits.not_before = self._clock.monotonic() + self._longest + SLACK
                line.not_before = line.permits.not_before
                permits[name] = line.permits
        self._permits_of = permits
        self._lines = list(lines.values())
        self._limited = [line for line in self._lines if line.permits is not None]
        self._line_of = {account: lines[group.name] for account, group in groups.items()}
        for delivery in waiting:
            self._line_of[delivery.account].waiting.append(delivery)

    def enter(self, delivery: Delivery, then: Then) -> None:
        """Call `then` with the delivery's slot at that moment; or with why it may not go."""
        self._waiting[delivery.tag] = then
        self._line_of[delivery.account].waiting.append(delivery)
        self._go_on()

    def withdraw(self, delivery: Delivery) -> None:
        """Let a delivery wait no longer; a slot that it was given passes unused."""
        if self._given.pop(delivery.tag, None) is None and self._waiting.pop(delivery.tag, None) is not None:
            with contextlib.suppress(ValueError):  # it is being asked for
                self._line_of[delivery.account].waiting.remove(delivery)

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
                delivery = line.waiting.popleft()
                if account in {None, delivery.account}:
                    self._waiting.pop(delivery.tag)(Refusal.NOT_RUNNING)
                else:
                    line.waiting.append(delivery)

    async def leave(self) -> None:
        """Tell Redis what is still open; called once, when `run` has ended, perhaps amid a call."""
        if self._calls:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVING):
                    await self._serve({}, self._clock.monotonic(), self._limited)

    async def run(self) -> None:
        """Serve the lines until cancelled."""
        while True:
            asked_at, free = self._clock.monotonic(), self._may_send() - len(self._given)
            asked: Asked = {}
            for line in self._lines:
                if deliveries := line.take(asked_at, self.at_once, free):
                    asked[line] = deliveries
                    free -= len(deliveries)
            owing = [line for line in self._limited if line.permits and line.permits.owes(asked_at)]
            if asked or owing:
                await self._serve(asked, asked_at, owing)
            else:
                await self._pause(asked_at)

    def _put_back(self, delivery: Delivery) -> None:
        """Put a delivery that got no slot, or missed it, at the head of its line, which may have changed."""
        self._line_of[delivery.account].waiting.appendleft(delivery)

    def _miss(self, late: Sequence[Delivery]) -> None:
        """Put back what missed its slot, and ask for half as many: a worker short of CPU wastes slots of others.

        Once for each stall: all the slots that it missed lie within the horizon.
        """
        for delivery in reversed(late):
            self._put_back(delivery)
        self._go_on()
        now = self._clock.monotonic()
        if now >= self._late_until:
            self._late_until = now + HORIZON
            self.at_once = max(1, self.at_once // 2)

    async def _pause(self, now: float) -> None:
        """Wait until a delivery enters, or until a line may ask again."""
        due = [line.not_before for line in self._lines if line.waiting and not line.full]
        due += [line.permits.report_at for line in self._limited if line.permits and line.permits.free]
        loop = asyncio.get_running_loop()
        self._paused = loop.create_future()
        timer = loop.call_later(max(0.001, min(due) - now), self._go_on) if due else None
        try:
            await self._paused
        finally:
            self._paused = None
            if timer is not None:
                timer.cancel()

    def _go_on(self) -> None:
        """End the pause, if there is one: something waits, or Redis has to hear of a permit that has ended."""
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)

    async def _serve(self, asked: Asked, asked_at: float, owing: Sequence[Line] = ()) -> None:
        """Ask for slots, and tell how many requests are open in the groups where these are limited."""
        self._cancelled.clear()
        lines = list(dict.fromkeys(chain(asked, owing)))
        was_open = {line: line.permits.open for line in lines if line.permits is not None}
        if was_open:
            self._slept = self._time_slept()
        try:
            reply = await self._script.run(self._redis, self._keys, self._arguments(asked, lines))
        except RedisError as error:
            self._on_error(error)
            self._ask_again(asked, asked_at + AWAY)
            for line in was_open:
                line.unheard(asked_at + AWAY)
            return
        now_us, first = int(reply[0]), 1
        self._clock.observe(now_us, asked_at, self._clock.monotonic())
        for line in lines:
            deliveries = asked.get(line, [])
            answers = reply[first : first + len(deliveries)]
            first += len(deliveries)
            if answers:
                self._answer(line, deliveries, answers, now_us)
            if line in was_open:
                line.note(was_open[line], answers, self._clock.monotonic())
        if faults := reply[first:]:
            self._on_faults([fault.decode(errors="backslashreplace") for fault in faults])

    def _ask_again(self, asked: Asked, not_before: float) -> None:
        """Put back what a call without an answer asked for."""
        for line, deliveries in asked.items():
            line.not_before = not_before
            for delivery in reversed(deliveries):
                if delivery.tag in self._waiting:
                    self._put_back(delivery)

    def _arguments(self, asked: Asked, lines: Sequence[Line]) -> list[str | int]:
        arguments: list[str | int] = [
            self._prefix,
            round(HORIZON * 1e6),
            round(min(self._clock.round_trip, LEAD) * 1e6),
            self._remembered.width,
            len(lines),
        ]
        for line in lines:
            arguments += (line.group.name, line.group.limit, str(line.group.headroom))
        arguments += self._permits(asked, lines)
        kinds: dict[tuple[int, str, str], int] = {}
        events: list[str | int] = []
        for number, line in enumerate(lines, 1):
            for delivery in asked.get(line, []):
                code, members = "1", delivery.member
                if delivery.probe or not delivery.event.verified:
                    code, members = _unusual(delivery)
                kind = kinds.setdefault((number, delivery.account, code), len(kinds) + 1)
                events += (kind, delivery.tag, delivery.claim, members)
        arguments.append(len(kinds))
        for of_kind in kinds:
            arguments += of_kind
        return arguments + events

    def _permits(self, asked: Asked, lines: Sequence[Line]) -> list[str | int]:
        """Return admit.lua's arguments about the groups whose requests in flight are limited."""
        limited = [
            (number, line, line.permits) for number, line in enumerate(lines, 1) if line.permits is not None
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
            wanted = len(line.waiting) + len(asked.get(line, []))
            arguments += (number, permits.most, permits.open, wanted)
        return arguments

    def _answer(
        self, line: Line, deliveries: Sequence[Delivery], answers: Sequence[int], now_us: int
    ) -> None:
        """Settle the refused, put those without a slot back to the front, and set the timers for the rest."""
        now, counted_from = self._clock.monotonic(), self._clock.local(now_us)
        slots: defaultdict[float, list[tuple[Delivery, Slot]]] = defaultdict(list)
        without: list[Delivery] = []
        waiting, permits, wake_at = self._waiting, line.permits, line.group.wake_at
        for delivery, answer in zip(deliveries, answers, strict=True):
            then = waiting.pop(delivery.tag, None)
            if then is None:
                continue  # it was withdrawn during the call
            if answer >= 0:
                moment = counted_from + answer / 1e6
                if permits is not None:
                    permits.open += 1
                slots[wake_at(moment)].append((delivery, Slot(moment + TOLERANCE, permits)))
                self._given[delivery.tag] = then
            elif answer <= NO_SLOT and not self._cancelled & {None, delivery.account}:
                waiting[delivery.tag] = then
                without.append(delivery)
            else:
                then(Refusal.NOT_RUNNING if answer <= NO_SLOT else Refusal(answer))
        for delivery in reversed(without):
            self._put_back(delivery)
        line.learn(answers, now, max(TURN, LONG_TURN - 2 * self._clock.round_trip))
        loop = asyncio.get_running_loop()
        for moment, due in slots.items():
            line.ahead += len(due)
            loop.call_at(moment, self._go, line, due)

    def _go(self, line: Line, due: Sequence[tuple[Delivery, Slot]]) -> None:
        """Let the deliveries of one tick go; one that is late by now is the first to get another slot."""
        monotonic = self._clock.monotonic
        late: list[Delivery] = []
        line.ahead -= len(due)
        if line.full:
            self._go_on()
        for delivery, slot in due:
            then = self._given.pop(delivery.tag, None)
            if then is not None and monotonic() <= slot.send_by:  # those before it may have taken long
                then(slot)
                continue
            if slot.permit is not None:
                slot.permit.end()
            if then is not None:
                self._waiting[delivery.tag] = then
                late.append(delivery)
        if late:
            self._miss(late)
        else:
            self.at_once = min(AT_ONCE, self.at_once + max(1, len(due) // 4))


def _unusual(delivery: Delivery) -> tuple[str, str]:
    """Return admit.lua's code for a probe or an unverified event, and the members that show that it is a duplicate."""
    if delivery.event.verified:
        return "p", delivery.member
    members = f"{delivery.fingerprint.member(verified=True)} {delivery.member}"
    return "q" if delivery.probe else "0", members
