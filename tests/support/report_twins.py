"""Twins of everything a report asks: door, HTTP, states, wall clock, observer, provider."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel
from redis.exceptions import ConnectionError as RedisConnectionError

from otpreport import Verification
from providers import Answer, Outcome, Result, SignedRequest, base
from providers.base import Unverified
from tasks.delivery import Delivery
from tasks.limiter.admission import Refusal, Slot
from tasks.limiter.permits import Permits
from tasks.report import How, InDoubt, NotSent, Report, Reporting
from tasks.settlement import Settlement
from tests.support.leased import NOW_MS
from worker.http.hearing import Cancel, RequestTasks, Then

URL = "https://provider.example/"


class Provider(base.Provider):
    """A provider whose answer says its class by name: `Answer(200, {}, b"throttled")`."""

    name: ClassVar[str] = "twin"
    endpoint: ClassVar[str] = URL
    rate_limit: ClassVar[int] = 100
    unverified: ClassVar[Unverified] = "unsayable"
    has_nonce: ClassVar[bool] = True
    Options: ClassVar[type[BaseModel]] = BaseModel
    credentials: ClassVar[frozenset[str]] = frozenset()
    key_faults: ClassVar[tuple[str, ...]] = ()

    def __init__(self, endpoint: str = URL, options: Any = None) -> None:
        self.url = endpoint
        self.options = options

    @property
    def key_id(self) -> str:
        """Name the key."""
        return "key"

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Put everything that was given into the request."""
        return SignedRequest(
            self.url, (("x-time", f"{now:.3f}"), ("x-nonce", nonce)), event.message_id.encode()
        )

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Read the class out of the body."""
        del event
        return self.probed(answer)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Put everything that was given into the request."""
        return SignedRequest(self.url, (("x-time", f"{now:.3f}"), ("x-nonce", nonce)), b"")

    def probed(self, answer: Answer) -> Outcome:
        """Read the class out of the body."""
        return Outcome(Result(answer.body.decode()), "Code", "text", "req")


class Nonceless(Provider):
    """A provider that signs no nonce."""

    has_nonce: ClassVar[bool] = False


class Alibabalike(Provider):
    """A provider that takes `verified=false`, too."""

    unverified: ClassVar[Unverified] = "reported"


class Silent(Provider):
    """A provider that takes an event for unverified unless it hears otherwise."""

    unverified: ClassVar[Unverified] = "implied"


class Pathlike(Provider):
    """A provider whose reports have the message id in their path."""

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Put the id into the path."""
        return SignedRequest(f"{self.url}{base.segment(event.message_id)}", (), b"")


@dataclass
class Gate:
    """A door that refuses as told, None: not at all; then it lets everybody in."""

    refusals: list[Refusal | None] = field(default_factory=list[Refusal | None])
    entered: int = 0
    permits: Permits | None = None

    def enter(self, delivery: Delivery, then: Callable[[Slot | Refusal], None]) -> None:
        """Tell of the next refusal, or of a slot that does not end."""
        del delivery
        self.entered += 1
        refusal = self.refusals.pop(0) if self.refusals else None
        if self.permits is not None and refusal is None:
            self.permits.open += 1
        asyncio.get_running_loop().call_soon(then, refusal or Slot(math.inf, self.permits))

    def withdraw(self, delivery: Delivery) -> None:
        """Let nobody wait longer: nobody waits."""

    def has_slot(self, delivery: Delivery) -> bool:
        """Say no: nobody waits."""
        del delivery
        return False

    def cancel_waiting(self, account: str | None) -> None:
        """Let nobody go: nobody waits."""


class AsyncHttp:
    """A network whose requests are coroutines."""

    _sending = RequestTasks()

    async def send(self, request: SignedRequest, send_by: float, /) -> Answer:
        """Return the answer, or raise why there is none."""
        raise NotImplementedError

    def start(self, request: SignedRequest, send_by: float, then: Then, /) -> Cancel:
        """Tell `then` of it."""
        return self._sending.start(partial(self.send, request, send_by), then)


@dataclass
class Http(AsyncHttp):
    """A network with one reply after another; the last one stays."""

    replies: list[Answer | Exception]
    requests: list[SignedRequest] = field(default_factory=list[SignedRequest])

    async def send(self, request: SignedRequest, send_by: float, /) -> Answer:
        """Give the next reply, or raise it."""
        del send_by
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply


@dataclass
class States:
    """Account states that note what is asked of them; `away`: without Redis."""

    away: bool = False
    calls: list[str] = field(default_factory=list[str])

    async def stop(self, account: str, outcome: Outcome, seconds: float) -> None:
        """Note it."""
        assert seconds >= 0
        self._note(f"stop {account} {outcome.code}")

    async def resume(self, account: str, *, delivered: bool) -> None:
        """Note it."""
        self._note(f"resume {account}" if delivered else f"answered {account}")

    async def slow_down(self, account: str, retry_after: float) -> None:
        """Note it."""
        self._note(f"slow_down {account} {retry_after:g}")

    def _note(self, call: str) -> None:
        if self.away:
            raise RedisConnectionError("away")
        self.calls.append(call)


@dataclass
class ProviderClock:
    """A wall clock that stands still until an answer with a `date` (UNIX seconds) corrects it."""

    seconds: float = NOW_MS / 1000

    def now(self, account: str) -> float:
        """Return the time."""
        del account
        return self.seconds

    def earliest(self, account: str) -> float:
        """Return the time that does not age an event."""
        del account
        return min(self.seconds, NOW_MS / 1000)

    def correct(self, account: str, answer: Answer) -> bool:
        """Take over the date of an answer that has one."""
        del account
        if "date" not in answer.headers:
            return False
        self.seconds = float(answer.headers["date"])
        return True


@dataclass
class Observer:
    """Everything a report tells, in order."""

    attempts: list[tuple[Result, int]] = field(default_factory=list[tuple[Result, int]])
    waits: list[float] = field(default_factory=list[float])

    def admitted(self, delivery: Delivery, seconds: float) -> None:
        """Note the wait."""
        del delivery
        self.waits.append(seconds)

    def attempted(self, delivery: Delivery, outcome: Outcome, attempt: int, seconds: float) -> None:
        """Note the attempt."""
        del delivery
        assert seconds >= 0
        self.attempts.append((outcome.result, attempt))


class SilentHttp(Http):
    """A network that never answers."""

    async def send(self, request: SignedRequest, send_by: float, /) -> Answer:
        """Wait for ever."""
        del send_by
        self.requests.append(request)
        never: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        return await never


class SilentStates(States):
    """Redis does not answer."""

    async def resume(self, account: str, *, delivered: bool) -> None:
        """Wait for ever."""
        del account, delivered
        await asyncio.get_running_loop().create_future()


async def reported(
    report: Report, delivery: Delivery, meanwhile: Callable[[Reporting], object] = lambda _: None
) -> Settlement | None:
    """Report an event, and return how its lease ends, or raise the fault; `meanwhile` is called when it waits."""
    ended: asyncio.Future[How] = asyncio.get_running_loop().create_future()
    reporting = Reporting(delivery, lambda _, how: ended.set_result(how))
    report.begin(reporting)
    for _ in range(5):
        await asyncio.sleep(0)
    meanwhile(reporting)
    async with asyncio.timeout(10):
        how = await ended
    if isinstance(how, Exception):
        raise how
    return how


def says(result: Result, **headers: str) -> Answer:
    """Return the answer of the provider that means `result`."""
    return Answer(200, headers, result.value.encode())


def ticking(step: float = 0.25) -> Callable[[], float]:
    """Return a monotonic clock that goes on by `step` seconds with each look at it."""
    moments = iter(_steps(step))
    return lambda: next(moments)


def _steps(step: float) -> Iterable[float]:
    now = 0.0
    while True:
        yield now
        now += step


__all__ = [
    "URL",
    "Alibabalike",
    "AsyncHttp",
    "Gate",
    "Http",
    "InDoubt",
    "NotSent",
    "Observer",
    "Provider",
    "ProviderClock",
    "SilentHttp",
    "SilentStates",
    "States",
    "reported",
    "says",
    "ticking",
]
