"""Report one event: may it go, sign, send, read the answer, decide."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from redis.exceptions import RedisError

from otpreport.errors import OtpreportError
from providers.base import Answer, Outcome, Provider, Result, SignedRequest, UnreportableError
from tasks.dead_letters import write as dead_letter
from tasks.delivery import Delivery, Leased, LeasePurpose, Read, read
from tasks.history import Attempt, History
from tasks.limiter.admission import Refusal, Slot
from tasks.queue.breaker import UNANSWERED, Calls
from tasks.retry import Deliver, GiveUp, Policy, Reason, Retry, SlowDown, StopAccount, Wait, decide
from tasks.settlement import DELIVERED, Bury, Ending, Finish, Schedule, Settlement

COPY_DELAY = 1.0
"""Seconds after which a copy of an event in flight is tried again."""

FAULT_DELAY = 5.0
"""Seconds after which an event is tried again that was not admitted because a key of its account can't be used."""

STOPPED_DELAY = 5.0
"""Seconds that the event which stopped its account is delayed, so that another one becomes the probe."""


REFUSED = frozenset({Result.ACCOUNT, Result.CLOCK})
"""What a provider says that takes no event of the account."""

MISSED = Outcome(Result.UNKNOWN, code="shutdown", message="the worker ended before the answer came")


class NotSent(OtpreportError):  # noqa: N818 - it names the fact
    """The request never reached the provider."""


class TooLate(OtpreportError):  # noqa: N818 - it names the fact
    """The slot or the lease ended before the request could leave: nothing was sent."""


class InDoubt(OtpreportError):  # noqa: N818 - it names the fact
    """The request was sent, or may have been, and no answer came: the provider may have taken it."""


class Limiter(Protocol):
    """Where an event waits until it may be sent."""

    async def enter(self, delivery: Delivery) -> Slot | Refusal:
        """Return the event's slot when it has come, or why the event may not be sent."""
        ...

    def has_slot(self, delivery: Delivery) -> bool:
        """Whether the event waits for a slot that it was given already."""
        ...

    def cancel_waiting(self, account: str | None) -> None:
        """Stop the waiting of all events without a slot, or of those of one account."""
        ...


class Http(Protocol):
    """The HTTP port: sends a signed request to the provider."""

    async def send(self, request: SignedRequest, send_by: float, /) -> Answer:
        """Return the whole answer; raise NotSent, TooLate or InDoubt if there is none.

        After `send_by` (local monotonic seconds) the request must not leave, even if connecting took so long.
        """
        ...


class AccountStates(Protocol):
    """The accounts' states, shared by all workers."""

    async def stop(self, account: str, outcome: Outcome, seconds: float) -> None:
        """Let the account's events wait: each would fail with `outcome`, whose request took `seconds`."""
        ...

    async def resume(self, account: str, *, delivered: bool) -> None:
        """Let the account's events go again: its probe was delivered, or at least answered."""
        ...

    async def slow_down(self, account: str, retry_after: float) -> None:
        """Lower the effective rate of the account's group, and pause the group for `retry_after` seconds."""
        ...


class Observer(Protocol):
    """Receives every attempt, for metrics and logs."""

    def admitted(self, delivery: Delivery, seconds: float) -> None:
        """Note how long an event waited for its slot."""
        ...

    def attempted(self, delivery: Delivery, outcome: Outcome, attempt: int, seconds: float) -> None:
        """Note one request and its outcome; `attempt` counts from 1."""
        ...


class ProviderClock(Protocol):
    """The wall clock, corrected by what the provider says the time is."""

    def now(self, account: str) -> float:
        """Return UNIX seconds as the account's provider counts them."""
        ...

    def earliest(self, account: str) -> float:
        """Return UNIX seconds by the slowest of our clock, Redis' and the provider's."""
        ...

    def correct(self, account: str, answer: Answer) -> bool:
        """Adopt the time of the answer; False if it has none."""
        ...


@dataclass(frozen=True, slots=True)
class ActiveAccount:
    """A configured account at work; `max_age` is in seconds, and counts from the sending of the code if so told.

    `automatic`: the tracker's own reports are sent; those still queued after a change to `never` are not.
    """

    name: str
    provider: Provider
    http: Http
    policy: Policy
    max_age: float
    from_sending: bool = False
    automatic: bool = True

    def reports_unverified(self, leased: Leased) -> bool:
        """Whether the provider is to be told of this code that was not entered."""
        return self.provider.unverified == "reported" and (self.automatic or not leased.automatic)


class Report:
    """Handles one delivery; every part that decides or does I/O is passed in."""

    def __init__(
        self,
        accounts: Mapping[str, ActiveAccount],
        *,
        admission: Limiter,
        states: AccountStates,
        wall: ProviderClock,
        observer: Observer,
        calls: Calls,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        nonce: Callable[[], str],
        is_aside: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`is_aside` returns whether only other workers can reach an account's provider."""
        self._accounts = dict(accounts)
        self._admission = admission
        self._states = states
        self._wall = wall
        self._observer = observer
        self._calls = calls
        self._monotonic = monotonic
        self._jitter = jitter
        self._nonce = nonce
        self._is_aside = is_aside

    def renew(self, account: str, provider: Provider) -> None:
        """Sign with a provider's new keys from now on; the answer to a request under way is read with its own keys."""
        self._accounts[account] = replace(self._accounts[account], provider=provider)

    def cancel_waiting(self, account: str | None = None) -> None:
        """Hand back all events that wait for a slot, or those of one account."""
        self._admission.cancel_waiting(account)

    def may_go(self, delivery: Delivery) -> bool:
        """Whether its request is under way, or it has a slot."""
        return delivery.sending or self._admission.has_slot(delivery)

    def read(self, leased: Leased, *, now_ms: int) -> Read:
        """Parse a leased message; never raises."""
        return read(leased, now_ms=now_ms, max_age=self._accounts[leased.account].max_age)

    async def report(self, delivery: Delivery) -> Settlement | None:
        """Report the event and return how its lease ends; None if the lease was lost before it was sent."""
        account = self._accounts[delivery.account]
        if delivery.leased.purpose is LeasePurpose.SHED:
            return Finish(Ending.SHED)
        if not delivery.event.verified and not account.reports_unverified(delivery.leased):
            return Finish(Ending.SKIPPED)
        # the events of an account that stood still for long may all be too old: one of them is its probe
        if not delivery.leased.probe and self._expired(delivery, account):
            return self._expire(delivery, delivery.leased.history)
        try:
            return await self._enter_and_send(delivery, may_correct_clock=True)
        except UnreportableError as error:
            return self._bury(delivery, delivery.leased.history, Reason.PERMANENT, str(error))

    def fault(self, delivery: Delivery, error: Exception) -> Settlement:
        """Return how the lease of an event ends whose report raised: an attempt was used, and it is retried."""
        result = Result.UNKNOWN if delivery.sending else Result.TRANSIENT
        outcome = Outcome(result, code="internal_error", message=type(error).__name__)
        account = self._accounts[delivery.account]
        history = self._history(delivery, outcome, 0.0)
        match decide(outcome, history, account.policy, self._jitter()):
            case Retry(delay):
                return Schedule(delay, delivery.leased.record(history))
            case _:
                return self._bury(delivery, history, Reason.EXHAUSTED, outcome.message)

    async def _enter_and_send(self, delivery: Delivery, *, may_correct_clock: bool) -> Settlement | None:
        waited_from = started = self._monotonic()
        while True:
            entered = await self._admission.enter(delivery)
            if isinstance(entered, Refusal):
                return _refused(delivery, entered)
            account = self._accounts[delivery.account]  # of this moment: keys may change while an event waits
            heard = True
            try:
                request = self._sign(delivery, account)
                started = self._monotonic()
                delivery.sending, heard = True, False
                outcome, answer = await self._send(request, entered, delivery, account)
                heard = answer is not None or outcome.result is Result.NOT_SENT
                break
            except TooLate:
                delivery.sending, heard = False, True  # and it waits for another slot
            except asyncio.CancelledError:
                self._observe(delivery, MISSED, started)
                raise
            finally:
                if entered.permit is not None:
                    entered.permit.end(heard=heard)
        self._observer.admitted(delivery, started - waited_from)
        seconds = self._observe(delivery, outcome, started)
        fresh = not (delivery.leased.history.attempts or delivery.leased.history.unsent)
        self._calls.ended(account.name, outcome, started, seconds, fresh=fresh)
        if (
            outcome.result is Result.CLOCK
            and may_correct_clock
            and answer
            and self._wall.correct(account.name, answer)
        ):
            delivery.sending = False
            return await self._enter_and_send(delivery, may_correct_clock=False)
        return await self._conclude(delivery, account, outcome, self._monotonic() - started)

    def _sign(self, delivery: Delivery, account: ActiveAccount) -> SignedRequest:
        nonce = self._nonce() if account.provider.has_nonce else ""
        return account.provider.request(delivery.event, now=self._wall.now(account.name), nonce=nonce)

    async def _send(
        self, request: SignedRequest, slot: Slot, delivery: Delivery, account: ActiveAccount
    ) -> tuple[Outcome, Answer | None]:
        """Send once; every fault becomes an outcome, except TooLate, which is raised."""
        try:
            answer = await account.http.send(request, slot.send_by)
            return account.provider.outcome(answer, delivery.event), answer
        except NotSent as error:
            return Outcome(Result.NOT_SENT, code="not_sent", message=str(error)), None
        except InDoubt as error:
            return Outcome(Result.UNKNOWN, code="no_answer", message=str(error)), None

    def _observe(self, delivery: Delivery, outcome: Outcome, started: float) -> float:
        """Report an attempt begun at `started` to the observer; return how many seconds it took."""
        seconds = self._monotonic() - started
        self._observer.attempted(delivery, outcome, len(delivery.leased.history.attempts) + 1, seconds)
        return seconds

    async def _conclude(
        self, delivery: Delivery, account: ActiveAccount, outcome: Outcome, seconds: float
    ) -> Settlement:
        """Turn the outcome into the end of the lease, and update the state that all workers share."""
        if delivery.leased.probe and outcome.result in UNANSWERED:
            return self._probed_in_vain(delivery, account, outcome)
        if delivery.leased.probe and outcome.result not in REFUSED:
            await _best_effort(
                self._states.resume(account.name, delivered=outcome.result is Result.DELIVERED)
            )
        history = self._history(delivery, outcome, seconds)
        match decide(outcome, history, account.policy, self._jitter()):
            case Deliver():
                return DELIVERED
            case Retry(delay) | Wait(delay):
                return self._later(delivery, history, delay)
            case SlowDown(delay):
                await _best_effort(self._states.slow_down(account.name, outcome.retry_after or 0.0))
                return wait(delivery, delay)
            case StopAccount():
                await _best_effort(self._states.stop(account.name, outcome, seconds))
                return wait(delivery, STOPPED_DELAY)
            case GiveUp(reason):
                return self._bury(delivery, history, reason, outcome.message)

    def _later(self, delivery: Delivery, history: History, delay: float) -> Schedule:
        """Let the event wait; if only this machine can't send, other workers get it at once."""
        if history.unsent and self._is_aside(delivery.account):
            return wait(delivery)
        return Schedule(delay, delivery.leased.record(history))

    def _history(self, delivery: Delivery, outcome: Outcome, seconds: float) -> History:
        """Return the event's history with this attempt; not built for a delivered event, which needs none."""
        history = delivery.leased.history
        if outcome.result is Result.DELIVERED:
            return history
        at_ms = round(self._wall.now(delivery.account) * 1000)
        if outcome.result is Result.NOT_SENT:
            return history.with_unsent(outcome, at_ms=at_ms)
        return history.plus(Attempt.of(outcome, at_ms=at_ms, seconds=seconds))

    def _probed_in_vain(self, delivery: Delivery, account: ActiveAccount, outcome: Outcome) -> Settlement:
        """Let the event wait without using an attempt; bury one that is too old, which would otherwise wait forever."""
        history = delivery.leased.history
        if outcome.result is Result.NOT_SENT and self._expired(delivery, account):
            return self._expire(delivery, self._history(delivery, outcome, 0.0))
        in_doubt = replace(history, doubted=True) if outcome.result is Result.UNKNOWN else None
        if self._expired(delivery, account):
            return self._bury(delivery, in_doubt or history, Reason.EXHAUSTED, outcome.message)
        waiting = wait(delivery, STOPPED_DELAY, history=in_doubt)
        return replace(waiting, unsent=outcome.result is Result.NOT_SENT)

    def _expired(self, delivery: Delivery, account: ActiveAccount) -> bool:
        sent_ms = delivery.event.sent_at_ms if account.from_sending else None
        since_ms = delivery.leased.history.replayed_ms or sent_ms or delivery.occurred_at_ms
        return self._wall.earliest(account.name) - since_ms / 1000 > account.max_age

    def _expire(self, delivery: Delivery, history: History) -> Bury:
        """Bury an event that is too old; the letter names the error that kept it from being sent, if there was one."""
        why = (
            f"older than max_age; nothing left: {history.unsent.message}"
            if history.unsent
            else "older than max_age"
        )
        return self._bury(delivery, history, Reason.EXPIRED, why)

    def _bury(self, delivery: Delivery, history: History, reason: Reason, why: str) -> Bury:
        now_ms = round(self._wall.now(delivery.account) * 1000)
        letter = dead_letter.write(delivery.leased, history, reason, why, delivery.event, now_ms=now_ms)
        return Bury(reason, letter)


async def _best_effort(change: Awaitable[None]) -> None:
    """Best effort: without Redis, or while the worker stops, the next event triggers the change again."""
    with contextlib.suppress(RedisError, OSError, asyncio.CancelledError):
        await change


def wait(delivery: Delivery, delay: float = 0.0, *, history: History | None = None) -> Schedule:
    """Put the event back for `delay` seconds; no attempt is used. One that was leased alone is no longer a suspect.

    `history` replaces the stored one.
    """
    leased = delivery.leased
    if history is None and not leased.suspect:
        return Schedule(delay)
    return Schedule(delay, leased.record(history or leased.history))


def abandon(delivery: Delivery, *, now_ms: int) -> Schedule:
    """Hand the event back at shutdown; if its request is under way, its answer is lost."""
    if not delivery.sending:
        return wait(delivery)
    history = delivery.leased.history.plus(Attempt.of(MISSED, at_ms=now_ms, seconds=0.0))
    return Schedule(0.0, delivery.leased.record(history))


def _refused(delivery: Delivery, refusal: Refusal) -> Settlement | None:
    match refusal:
        case Refusal.LEASE_LOST:
            return None
        case Refusal.DUPLICATE:
            return Finish(Ending.DUPLICATE)
        case Refusal.NOT_RUNNING:
            return wait(delivery)
        case Refusal.COPY_IN_FLIGHT:
            return wait(delivery, COPY_DELAY)
        case Refusal.KEY_UNUSABLE:
            return wait(delivery, FAULT_DELAY)
