"""Report one event: may it go, sign, send, read the answer, decide."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from redis.exceptions import RedisError

from otpreport.errors import OtpreportError
from providers.base import Answer, Outcome, Provider, Result, SignedRequest, UnreportableError
from tasks.dead_letters import write as dead_letter
from tasks.delivery import Delivery, Leased, LeasePurpose, Read, read
from tasks.history import Attempt, History
from tasks.limiter.admission import Refusal, Slot
from tasks.limiter.permits import Permits
from tasks.queue.breaker import UNANSWERED, Calls
from tasks.retry import Decision, Deliver, GiveUp, Policy, Reason, Retry, SlowDown, StopAccount, Wait, decide
from tasks.settlement import DELIVERED, Bury, Ending, Finish, Schedule, Settlement

COPY_DELAY = 1.0
"""Seconds after which a copy of an event in flight is tried again."""

FAULT_DELAY = 5.0
"""Seconds after which an event is tried again that was not admitted because a key of its account can't be used."""

STOPPED_DELAY = 5.0
"""Seconds that the event which stopped its account is delayed, so that another one becomes the probe."""


REFUSED = frozenset({Result.ACCOUNT, Result.CLOCK})
"""What a provider says that takes no event of the account."""

_DELIVERED, _SHED = Result.DELIVERED, LeasePurpose.SHED  # Python 3.11 takes 80 ns to find a member

MISSED = Outcome(Result.UNKNOWN, code="shutdown", message="the worker ended before the answer came")


class NotSent(OtpreportError):  # noqa: N818 - it names the fact
    """The request never reached the provider."""


class TooLate(OtpreportError):  # noqa: N818 - it names the fact
    """The slot or the lease ended before the request could leave: nothing was sent."""


class InDoubt(OtpreportError):  # noqa: N818 - it names the fact
    """The request was sent, or may have been, and no answer came: the provider may have taken it."""


class Limiter(Protocol):
    """Where an event waits until it may be sent."""

    def enter(self, delivery: Delivery, then: Callable[[Slot | Refusal], None]) -> None:
        """Call `then` with the event's slot when it has come, or with why the event may not be sent."""
        ...

    def withdraw(self, delivery: Delivery) -> None:
        """Let an event wait no longer: `then` is not called, and a slot that it was given is not used."""
        ...

    def has_slot(self, delivery: Delivery) -> bool:
        """Whether the event waits for a slot that it was given already."""
        ...

    def cancel_waiting(self, account: str | None) -> None:
        """Stop the waiting of all events without a slot, or of those of one account."""
        ...


class Http(Protocol):
    """The HTTP port: sends a signed request to the provider."""

    def start(
        self, request: SignedRequest, send_by: float, then: Callable[[Answer | Exception], None], /
    ) -> Callable[[], object]:
        """Send a request; `then` hears the whole answer, or NotSent, TooLate or InDoubt, after this has returned.

        NotSent or TooLate is raised where it is known at once. After `send_by` (local monotonic seconds) the request
        must not leave, even if connecting took so long. What is returned gives up a request that has no answer yet.
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


Change = Callable[[], Awaitable[None]]
How = Settlement | Exception | None
"""How an event's lease ends: None if it was lost before the event was sent, an exception if the fault is ours."""


class Reporting:
    """An event being reported; times are seconds of the local monotonic clock."""

    # defaults of the class and no fields of a dataclass: one is made for each report, and needs few of them
    waits_since: float = 0.0
    began: float = 0.0
    permit: Permits | None = None
    """Of the request under way, where its group limits these."""
    cancel: Callable[[], object] | None = None
    """Gives up the request under way, or what follows its answer."""
    answered: bool = False
    clock_corrected: bool = False
    over: bool = False

    def __init__(self, delivery: Delivery, then: Callable[[Delivery, How], None]) -> None:
        """`then` hears how the event's lease ends."""
        self.delivery = delivery
        self.then = then


class Report:
    """Reports events; every part that decides or does I/O is passed in.

    A report is no task: who it waits for, the limiter or the HTTP client, calls its next step, and no step raises.
    """

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

    def begin(self, reporting: Reporting) -> None:
        """Begin to report an event."""
        how: How
        try:
            how = self._unsent(reporting.delivery)
            if how is None:
                reporting.waits_since = self._monotonic()
                self._enter(reporting)
                return
        except Exception as error:  # a fault of ours must not lose the event
            how = error
        _end(reporting, how)

    def abandon(self, reporting: Reporting, *, now_ms: int) -> None:
        """Hand an event back at shutdown; what follows an answer that has come is not waited for."""
        delivery, cancel = reporting.delivery, reporting.cancel
        if not reporting.answered:
            if delivery.sending:
                self._observe(reporting, MISSED)
                _end_permit(reporting, heard=False)
            else:
                self._admission.withdraw(delivery)
            _end(reporting, abandon(delivery, now_ms=now_ms))
        if cancel is not None:
            cancel()

    def _unsent(self, delivery: Delivery) -> Settlement | None:
        """Return how the lease of an event ends that is not to be sent; None if it is."""
        account = self._accounts[delivery.account]
        if delivery.leased.purpose is _SHED:
            return Finish(Ending.SHED)
        if not delivery.event.verified and not account.reports_unverified(delivery.leased):
            return Finish(Ending.SKIPPED)
        # the events of an account that stood still for long may all be too old: one of them is its probe
        if not delivery.probe and self._expired(delivery, account):
            return self._expire(delivery, delivery.leased.history)
        return None

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

    def _enter(self, reporting: Reporting) -> None:
        reporting.delivery.sending = False
        self._admission.enter(reporting.delivery, partial(self._entered, reporting))

    def _entered(self, reporting: Reporting, entered: Slot | Refusal) -> None:
        """Sign and send: the slot has come."""
        delivery = reporting.delivery
        how: How
        try:
            if isinstance(entered, Refusal):
                how = _refused(delivery, entered)
            else:
                reporting.permit = entered.permit
                self._send(reporting, entered.send_by)
                return
        except UnreportableError as error:
            how = self._bury(delivery, delivery.leased.history, Reason.PERMANENT, str(error))
            _end_permit(reporting, heard=True)
        except Exception as error:  # a fault of ours must not lose the event
            how = error
            _end_permit(reporting, heard=not delivery.sending)
        _end(reporting, how)

    def _send(self, reporting: Reporting, send_by: float) -> None:
        delivery = reporting.delivery
        account = self._accounts[delivery.account]  # of this moment: keys may change while an event waits
        nonce = self._nonce() if account.provider.has_nonce else ""
        request = account.provider.request(delivery.event, now=self._wall.now(account.name), nonce=nonce)
        reporting.began = self._monotonic()
        delivery.sending = True
        try:
            reporting.cancel = account.http.start(
                request, send_by, partial(self._answered, reporting, account)
            )
        except (NotSent, TooLate) as why:
            self._answered(reporting, account, why)

    def _answered(self, reporting: Reporting, account: ActiveAccount, heard: Answer | Exception) -> None:
        """Judge the answer, or why there is none; the account has the keys that the request was signed with."""
        if reporting.over:
            return
        reporting.cancel = None
        how: How
        try:
            if isinstance(heard, TooLate):
                _end_permit(reporting, heard=True)
                self._enter(reporting)
                return
            if isinstance(heard, Answer):
                outcome, is_heard = account.provider.outcome(heard, reporting.delivery.event), True
            else:
                outcome = _unanswered(heard)
                is_heard = outcome.result is Result.NOT_SENT
            _end_permit(reporting, heard=is_heard)
            how = self._judge(reporting, account, outcome, heard)
            if how is None:
                return
        except Exception as error:  # a fault of ours must not lose the event
            how = error
            _end_permit(reporting, heard=False)
        _end(reporting, how)

    def _judge(
        self, reporting: Reporting, account: ActiveAccount, outcome: Outcome, heard: Answer | Exception
    ) -> Settlement | None:
        """Count an attempt, and return how the lease ends; None where that is not known yet."""
        delivery, leased = reporting.delivery, reporting.delivery.leased
        self._observer.admitted(delivery, reporting.began - reporting.waits_since)
        seconds = self._observe(reporting, outcome)
        fresh = not (leased.history.attempts or leased.history.unsent)
        self._calls.ended(account.name, outcome, reporting.began, seconds, fresh=fresh)
        if outcome.result is _DELIVERED and not delivery.probe:
            return DELIVERED
        if outcome.result is Result.CLOCK and not reporting.clock_corrected and isinstance(heard, Answer):
            reporting.clock_corrected = True
            if self._wall.correct(account.name, heard):
                reporting.waits_since = self._monotonic()
                self._enter(reporting)
                return None
        return self._conclude(reporting, account, outcome, seconds)

    def _observe(self, reporting: Reporting, outcome: Outcome) -> float:
        """Tell the observer of an attempt; return how many seconds it took."""
        seconds = self._monotonic() - reporting.began
        number = len(reporting.delivery.leased.history.attempts) + 1
        self._observer.attempted(reporting.delivery, outcome, number, seconds)
        return seconds

    def _conclude(
        self, reporting: Reporting, account: ActiveAccount, outcome: Outcome, seconds: float
    ) -> Settlement | None:
        """Return how the lease ends; None if the state that all workers share is changed before."""
        delivery = reporting.delivery
        if delivery.probe and outcome.result in UNANSWERED:
            return self._probed_in_vain(delivery, account, outcome)
        history = self._history(delivery, outcome, seconds)
        decision = decide(outcome, history, account.policy, self._jitter())
        settlement = self._settlement(delivery, history, decision, outcome)
        changes = self._changes(delivery, decision, outcome, seconds)
        if not changes:
            return settlement
        reporting.answered = True
        changing = asyncio.create_task(_best_effort(changes))
        changing.add_done_callback(partial(_changed, reporting, settlement))
        reporting.cancel = changing.cancel
        return None

    def _settlement(
        self, delivery: Delivery, history: History, decision: Decision, outcome: Outcome
    ) -> Settlement:
        match decision:
            case Deliver():
                return DELIVERED
            case Retry(delay) | Wait(delay):
                return self._later(delivery, history, delay)
            case SlowDown(delay):
                return wait(delivery, delay)
            case StopAccount():
                return wait(delivery, STOPPED_DELAY)
            case GiveUp(reason):
                return self._bury(delivery, history, reason, outcome.message)

    def _changes(
        self, delivery: Delivery, decision: Decision, outcome: Outcome, seconds: float
    ) -> list[Change]:
        """Return what an outcome changes for all workers."""
        account, changes = delivery.account, list[Change]()
        if delivery.probe and outcome.result not in REFUSED:
            is_delivered = outcome.result is Result.DELIVERED
            changes.append(partial(self._states.resume, account, delivered=is_delivered))
        if isinstance(decision, SlowDown):
            changes.append(partial(self._states.slow_down, account, outcome.retry_after or 0.0))
        elif isinstance(decision, StopAccount):
            changes.append(partial(self._states.stop, account, outcome, seconds))
        return changes

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


def _end(reporting: Reporting, how: How) -> None:
    reporting.over = True
    reporting.then(reporting.delivery, how)


def _end_permit(reporting: Reporting, *, heard: bool) -> None:
    if reporting.permit is not None:
        reporting.permit.end(heard=heard)
        reporting.permit = None


def _unanswered(why: Exception) -> Outcome:
    """Return the outcome of a request that has no answer; raise what is a fault of ours."""
    if isinstance(why, NotSent):
        return Outcome(Result.NOT_SENT, code="not_sent", message=str(why))
    if isinstance(why, InDoubt):
        return Outcome(Result.UNKNOWN, code="no_answer", message=str(why))
    raise why


async def _best_effort(changes: Sequence[Change]) -> None:
    """Make the changes; those that Redis, or the worker's end, does not let happen the next event triggers again."""
    for change in changes:
        with contextlib.suppress(RedisError, OSError):
            await change()


def _changed(reporting: Reporting, settlement: Settlement, changing: asyncio.Task[None]) -> None:
    fault = None if changing.cancelled() else changing.exception()
    _end(reporting, fault if isinstance(fault, Exception) else settlement)


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
