"""What follows an attempt: a pure function of its outcome and the event's history."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from providers.base import Outcome, Result
from tasks.history import History


class Reason(enum.StrEnum):
    """Why an event is a dead letter."""

    INVALID = "invalid"
    EXPIRED = "expired"
    PERMANENT = "permanent"
    EXHAUSTED = "exhausted"
    POISON = "poison"


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long an event is retried: `base` and `cap` are seconds of the full-jitter back-off."""

    max_attempts: int = 12
    base: float = 1.0
    cap: float = 300.0
    doubtful_attempts: int = 3
    throttled_delay: float = 1.0


@dataclass(frozen=True, slots=True)
class Deliver:
    """The provider has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay` seconds; an attempt was used."""

    delay: float


@dataclass(frozen=True, slots=True)
class SlowDown:
    """The provider throttles: try again after `delay` seconds; no attempt was used."""

    delay: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after `delay` seconds; nothing was sent, so no attempt was used."""

    delay: float


@dataclass(frozen=True, slots=True)
class StopAccount:
    """Every event of the account would fail: the account stops, and the event waits."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The event is a dead letter."""

    reason: Reason


Decision = Deliver | Retry | SlowDown | Wait | StopAccount | GiveUp


def decide(outcome: Outcome, history: History, policy: Policy, jitter: float) -> Decision:
    """Return what follows `outcome`, which is already the last attempt of `history`; `jitter` is from [0, 1)."""
    match outcome.result:
        case Result.DELIVERED:
            return Deliver()
        case Result.THROTTLED:
            return SlowDown(max(outcome.retry_after or 0.0, policy.throttled_delay * (0.5 + jitter)))
        case Result.NOT_SENT:
            return Wait(backoff(history.unsent.times if history.unsent else 1, policy, jitter))
        case Result.ACCOUNT | Result.CLOCK:
            return StopAccount()
        case Result.PERMANENT:
            return GiveUp(Reason.PERMANENT)
        case Result.DOUBTFUL if history.doubtful >= policy.doubtful_attempts:
            return GiveUp(Reason.PERMANENT)
        case _ if len(history.attempts) >= policy.max_attempts:
            return GiveUp(Reason.EXHAUSTED)
        case _:
            return Retry(max(outcome.retry_after or 0.0, backoff(len(history.attempts), policy, jitter)))


def backoff(attempts: int, policy: Policy, jitter: float) -> float:
    """Return the full-jitter delay in seconds after `attempts` failed attempts."""
    ceiling = min(policy.cap, policy.base * 2.0 ** min(attempts - 1, 60))
    return ceiling * jitter
