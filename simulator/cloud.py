"""The providers behind the door: what happens to a call from its arrival to its answer."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from simulator.alibaba import WINDOW as NONCE_LIFETIME
from simulator.alibaba import Alibaba
from simulator.aws import Aws
from simulator.bird import Bird
from simulator.clock import Clock
from simulator.connection import Exchange
from simulator.delivery import Delivery
from simulator.dialect import Dialect
from simulator.dice import Throw, delay, throw
from simulator.eight_by_eight import EightByEight
from simulator.faults import FaultTable
from simulator.in_flight import InFlight
from simulator.infobip import Infobip
from simulator.lag import LagMeter
from simulator.ledger import SIGNED, TAKEN, VERIFIED, Book, Ledger
from simulator.messagebird import MessageBird
from simulator.nonces import Nonces
from simulator.plan import ANSWERED_AS_PLANNED, ANSWERED_RIGHTLY, Fault, Plan
from simulator.plivo import Plivo
from simulator.reply import NOT_FOUND, Reply, with_time
from simulator.request import Call, RefusedError, Request
from simulator.settings import Settings, unknown_rates
from simulator.sinch import Sinch
from simulator.telesign import Telesign
from simulator.tencent import Tencent
from simulator.twilio import Twilio
from simulator.twilio_verify import TwilioVerify
from simulator.volcengine import Volcengine
from simulator.vonage import Vonage
from simulator.window import RateWindow

DIALECTS = (
    Tencent,
    Alibaba,
    Aws,
    Bird,
    MessageBird,
    EightByEight,
    Infobip,
    Plivo,
    Sinch,
    Twilio,
    TwilioVerify,
    Volcengine,
    Vonage,
    Telesign,
)

OK = "ok"
UNKNOWN_KEY = "(unknown)"


@dataclass(slots=True)
class Arrival:
    """A call at the door, and what the plan has for it."""

    call: Call
    dialect: Dialect
    book: Book
    at: float  # monotonic
    unix: float  # by the provider's clock
    chance: Throw
    fault: Fault | None
    refusal: RefusedError | None  # why its sender is not who it says, if so
    turned_away: bool = False  # it was one too many at a time: that is answered at once


class Cloud:
    """Judge each call at the moment it arrives, write it down, and answer it when the plan says so."""

    def __init__(self, settings: Settings, lag: LagMeter) -> None:
        self.clock = Clock()
        self.lag = lag
        self.ledger = Ledger(self.clock.offset)
        self.in_flight = InFlight()
        self._keys = settings.keys
        self._dialects: list[Dialect] = [dialect(settings.keys) for dialect in DIALECTS]
        self._windows: dict[tuple[str, str], RateWindow] = {
            (key.provider, key.id): RateWindow(key.limit) for key in settings.keys
        }
        self._in_flight: dict[tuple[str, str], InFlight] = {
            (key.provider, key.id): InFlight(key.in_flight) for key in settings.keys
        }
        self._delivery = Delivery(self.clock)
        self._nonces = Nonces(NONCE_LIFETIME)
        self._count = 0
        self._plan_since = 0.0  # monotonic
        self.set_plan(settings.plan)

    def set_plan(self, plan: Plan, *, restart: bool = True) -> None:
        """Let another plan hold from now on; ValueError when it names a key that does not exist.

        Without `restart` the seconds of its faults are still counted from the plan before.
        """
        unknown_rates(plan, self._keys)
        self.plan = plan
        self._faults = FaultTable(plan.faults)
        if restart:
            self._plan_since = asyncio.get_running_loop().time()
        self._random = random.Random(plan.seed)  # noqa: S311 - repeatable on purpose
        self._door_jitter = plan.door_jitter_ms / 1000
        self.clock.ahead = plan.clock_offset_s
        for key in self._keys:
            self._windows[key.provider, key.id].rate = plan.rates.get(key.id, key.limit)

    def reset(self) -> None:
        """Begin a new ledger and empty rate windows; plan, rates and nonces stay."""
        self.ledger = Ledger(self.clock.offset)
        for window in self._windows.values():
            window.clear()
        now = asyncio.get_running_loop().time()
        for counted in (self.in_flight, *self._in_flight.values()):
            counted.reset(now)

    def rate(self, book: Book) -> int | None:
        """Return the rate the key of a book is held to now."""
        window = self._windows.get((book.provider, book.key))
        return window.rate if window else None

    def in_flight_of(self, book: Book) -> InFlight:
        """Return the open requests of the key of a book."""
        return self._in_flight.setdefault((book.provider, book.key), InFlight())

    def review(self) -> None:
        """Judge the arrivals for whose time the simulator's own lag is known."""
        for book in self.ledger.books:
            book.judge.advance(self.lag.checked_until, self.lag.spans)

    def enter(self, exchange: Exchange, read_at: float) -> None:
        """Let a call arrive, after the plan's jitter before the door."""
        if self._door_jitter:
            loop = asyncio.get_running_loop()
            loop.call_later(self._random.random() * self._door_jitter, self._enter_late, exchange)
        else:
            self._arrive(exchange, read_at)

    def leave(self, exchange: Exchange, *, answered: bool) -> None:
        """Note how an exchange ended."""
        visit = exchange.visit
        if visit is None:
            return
        ledger, row, of_key = visit
        now = asyncio.get_running_loop().time()
        for counted in (self.in_flight, of_key):
            counted.leave(now)
        if answered:
            ledger.answered(row)

    def _enter_late(self, exchange: Exchange) -> None:
        self._arrive(exchange, asyncio.get_running_loop().time())

    def _arrive(self, exchange: Exchange, now: float) -> None:
        dialect = self._dialect(exchange.request)
        if dialect is None:
            self._delivery.post(exchange, NOT_FOUND, None, 0)
            return
        arrival = self._look_up(dialect, dialect.read(exchange.request), now)
        code, reply = self._decide(arrival)
        self._write_down(exchange, arrival, code)
        pause = 0.0 if arrival.turned_away else delay(self.plan.latency, arrival.chance)
        self._delivery.post(exchange, reply, arrival.fault, pause)

    def _dialect(self, request: Request) -> Dialect | None:
        return next((dialect for dialect in self._dialects if dialect.claims(request)), None)

    def _look_up(self, dialect: Dialect, call: Call, now: float) -> Arrival:
        key = dialect.key(call)
        book = self.ledger.book(call.provider, key.id if key else UNKNOWN_KEY)
        times = book.arrive(call.message_id, now)
        chance = throw(self.plan.seed, call.message_id, times)
        fault = self._faults.pick(call, times, now - self._plan_since, chance.fault)
        unix = self.clock.now(now)
        return Arrival(call, dialect, book, now, unix, chance, fault, _refusal(dialect, call, unix))

    def _decide(self, arrival: Arrival) -> tuple[str, Reply]:
        fault = arrival.fault
        self._count += 1
        request_id = b"%08x-51b0-4000-8000-000000000000" % self._count
        if fault is not None and fault.before_the_door:
            return fault.kind, arrival.dialect.success(arrival.call, request_id)  # never sent, or cut in half
        try:
            self._admit(arrival)
            arrival.dialect.validate(arrival.call, arrival.unix)
        except RefusedError as refusal:
            return refusal.code, self._refused(arrival, refusal, request_id)
        if fault is not None and fault.kind in ANSWERED_AS_PLANNED:
            return fault.code, _planned(arrival, fault, request_id)
        return OK, arrival.dialect.success(arrival.call, request_id)

    def _admit(self, arrival: Arrival) -> None:
        if arrival.refusal is not None:
            raise arrival.refusal
        call, dialect, book = arrival.call, arrival.dialect, arrival.book
        if call.nonce and not self._nonces.use(book.key, call.nonce, arrival.at):
            raise RefusedError(dialect.replayed, "Specified signature nonce was used already.")
        if not self._windows[book.provider, book.key].admit(arrival.at):
            raise RefusedError(dialect.throttled, "Request was denied due to request throttling.")
        if self.in_flight_of(book).full:
            arrival.turned_away = True
            raise RefusedError(dialect.throttled, "Too many requests at a time.")

    def _refused(self, arrival: Arrival, refusal: RefusedError, request_id: bytes) -> Reply:
        dialect = arrival.dialect
        reply = dialect.error(arrival.call, refusal.code, refusal.message, request_id)
        throttling = self.plan.throttling
        if refusal.code == dialect.throttled and arrival.chance.size < throttling.retry_after_share:
            return with_time(reply, dialect.says_when, throttling.retry_after_ms)
        return reply

    def _write_down(self, exchange: Exchange, arrival: Arrival, code: str) -> None:
        call, book = arrival.call, arrival.book
        flags = (VERIFIED if call.verified else 0) | (SIGNED if arrival.refusal is None else 0)
        if code == OK:
            book.take(call.message_id, verified=call.verified)
            flags |= TAKEN
            code = _name(arrival.fault)
        book.answer(code)
        row = self.ledger.add(
            book, arrival.at, call.message_id, code=code, flags=flags, connection=exchange.connection.number
        )
        if not exchange.gone:
            of_key = self.in_flight_of(book)
            exchange.visit = (self.ledger, row, of_key)
            for counted in (self.in_flight, of_key):
                counted.arrive(arrival.at)


def _refusal(dialect: Dialect, call: Call, unix: float) -> RefusedError | None:
    try:
        dialect.authenticate(call, unix)
    except RefusedError as refusal:
        return refusal
    return None


def _planned(arrival: Arrival, fault: Fault, request_id: bytes) -> Reply:
    dialect, call = arrival.dialect, arrival.call
    answer = dialect.inner_error if fault.kind == "inner" else dialect.error
    reply = answer(call, fault.code, fault.message, request_id)
    if fault.status is not None:
        reply = reply._replace(status=fault.status)
    if fault.retry_after_ms is not None:
        reply = with_time(reply, dialect.says_when, fault.retry_after_ms)
    return reply


def _name(fault: Fault | None) -> str:
    return OK if fault is None or fault.kind in ANSWERED_RIGHTLY else fault.kind
