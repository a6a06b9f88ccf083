"""A leased event, and how its bytes become one."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from otpreport import Dispatch, Verification
from otpreport.wire import SENT_TASK, TASK, notice
from tasks.dedupe import Fingerprint
from tasks.history import NO_HISTORY, History
from tasks.message import Json, MalformedMessage, Task, decode, of_our_client
from tasks.retry import Reason
from tasks.shared import SOLITARY_DEATHS, SUSPECT_DEATHS


class LeasePurpose(enum.StrEnum):
    """The purpose for which an event was leased; the words of lease.lua."""

    SEND = "send"
    PROBE = "probe"
    SHED = "shed"


_PROBE = LeasePurpose.PROBE  # Python 3.11 takes 80 ns to find a member
E = TypeVar("E", Verification, Dispatch)


@dataclass(slots=True)  # plain: one is made for each report
class Leased:
    """A record as read from Redis: how many workers died with it, when it was first taken (ms), the bytes as sent."""

    account: str
    tag: str
    deaths: int
    solitary_deaths: int
    first_ms: int
    history: History
    raw: bytes
    purpose: LeasePurpose = LeasePurpose.SEND
    claim: ClassVar[str] = ""
    member: ClassVar[str] = ""
    sending: ClassVar[bool] = False
    ignored: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def unseen(cls, tag: str) -> Leased:
        """Return the lease of an event whose record did not come."""
        return cls(tag.partition(":")[0], tag, 0, 0, 0, NO_HISTORY, b"")

    @classmethod
    def parse(
        cls, account: str, tag: str, record: bytes, purpose: LeasePurpose = LeasePurpose.SEND
    ) -> Leased:
        """Parse a record: its header, not the message. Bytes that are not a record are kept whole as the message."""
        try:
            header, line, raw = record.split(b"\n", 2)
            deaths, solitary, first_ms = map(int, header.split())
            history = History.decode(line) if line else NO_HISTORY
            return cls(account, tag, deaths, solitary, first_ms, history, raw, purpose)
        except (ValueError, TypeError, LookupError):
            return cls(account, tag, 0, 0, 0, NO_HISTORY, record, purpose)

    @property
    def leased(self) -> Leased:
        """Itself; a `Delivery` has a record in this place."""
        return self

    @property
    def since_ms(self) -> int:
        """Since when it counts as waiting (ms): since it was taken, as it was not read; 0 if nobody waits for it."""
        return 0 if self.automatic else self.first_ms

    @property
    def automatic(self) -> bool:
        """Whether the tracker made it: the report of an OTP that was not verified, for which nobody waits."""
        return ":n" in self.tag

    def record(self, history: History) -> bytes:
        """Return the record to store for another attempt; it survived this lease, so its deaths are reset to 0."""
        return b"0 0 %d\n%b\n%b" % (self.first_ms, history.encode(), self.raw)

    @property
    def probe(self) -> bool:
        """Whether it is a probe, which tests whether a stopped account, or one with an open breaker, works again."""
        return self.purpose is _PROBE

    @property
    def suspect(self) -> bool:
        """Whether workers died with it, so that it was leased alone."""
        return self.deaths >= SUSPECT_DEATHS


@dataclass(slots=True)
class Delivery:
    """A leased event on its way to the provider."""

    leased: Leased
    event: Verification
    ignored: tuple[str, ...] = ()
    """Which options of its message are ignored."""
    noted: bool = False
    """Whether its sender told the tracker of OTPs itself."""
    account: str = field(init=False)
    tag: str = field(init=False)
    """The id of the message among all taken ones."""
    fingerprint: Fingerprint = field(init=False)
    claim: str = field(init=False)
    """The field under which it claims its message id."""
    member: str = field(init=False)
    """Its dedupe member once it is delivered."""
    probe: bool = field(init=False)
    occurred_at_ms: int = field(init=False)
    sending: bool = False
    """Whether its request may have left."""

    def __post_init__(self) -> None:
        leased, event = self.leased, self.event
        # slots and no properties: each is read ten times a report
        self.account, self.tag, self.probe = leased.account, leased.tag, leased.probe
        self.fingerprint = fingerprint = Fingerprint.of(event.account, event.message_id)
        self.claim, self.member = fingerprint.claim, fingerprint.member(verified=event.verified)
        self.occurred_at_ms = event.occurred_at_ms

    @property
    def since_ms(self) -> int:
        """Since when it counts as waiting (ms), 0 if nobody waits; a replayed one since then, lest its age alert."""
        if self.leased.automatic:
            return 0
        return self.leased.history.replayed_ms or self.occurred_at_ms


Held = Leased | Delivery
"""What a worker holds, read or not; both have an account, tag and record, and what settle needs."""


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """A message that can't be reported: `reason` and a sentence why, and the event if it could be read."""

    reason: Reason
    why: str
    event: Verification | None = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """A message whose `eta` is `delay` seconds ahead."""

    delay: float
    event: Verification


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A message that tells of an OTP that was sent: its notice for the tracker, whatever its `eta` or `expires`."""

    notice: bytes
    ignored: tuple[str, ...] = ()
    """Which options of its message are ignored."""
    event: ClassVar[Verification | None] = None


Read = Delivery | Undeliverable | NotYet | Dispatched


def read(leased: Leased, *, now_ms: int, max_age: float = math.inf) -> Read:
    """Parse a leased message; events of its account expire after `max_age` seconds. Never raises."""
    if leased.solitary_deaths >= SOLITARY_DEATHS:
        return Undeliverable(Reason.POISON, f"{leased.deaths} workers died while they held it")
    if found := of_our_client(leased.raw, leased.account):
        return Delivery(leased, found[0], (), found[1])
    return _of_any_producer(leased, now_ms, max_age)


def _of_any_producer(leased: Leased, now_ms: int, max_age: float) -> Read:
    try:
        task = decode(leased.raw)
        if task.task == SENT_TASK:
            dispatch = _of_account(Dispatch.from_wire(argument(task, "otp")), leased.account)
            return Dispatched(notice(dispatch), task.ignored)
        event = _event(task, leased.account)
    except ValueError as error:
        why = error.reason if isinstance(error, MalformedMessage) else str(error)
        return Undeliverable(Reason.INVALID, why)
    if task.expires_ms is not None and task.expires_ms <= now_ms and leased.history.replayed_ms is None:
        return Undeliverable(Reason.EXPIRED, "the producer's `expires` has passed", event)
    if task.eta_ms is None or leased.history.replayed_ms is not None or leased.purpose is LeasePurpose.SHED:
        return Delivery(leased, event, task.ignored, task.noted)
    if task.eta_ms > event.occurred_at_ms + max_age * 1000:
        why = "its `eta` lies after `occurred_at` + MAX_AGE: it could only expire"
        return Undeliverable(Reason.INVALID, why, event)
    if task.eta_ms > now_ms:
        return NotYet((task.eta_ms - now_ms) / 1000, event)
    return Delivery(leased, event, task.ignored, task.noted)


def _event(task: Task, account: str) -> Verification:
    """Return the event of a task message; ValueError says why it has none."""
    if task.task != TASK:
        raise ValueError(f"unknown task {task.task[:100]!r}")
    return _of_account(Verification.from_wire(argument(task)), account)


def argument(task: Task, name: str = "event") -> dict[str, Json]:
    """Return the task's argument, by its name or as the only positional one; ValueError if it has others."""
    if len(task.kwargs) == 1 and name in task.kwargs and not task.args:
        data = task.kwargs[name]
    elif task.kwargs or len(task.args) != 1:
        raise ValueError(f"the task takes one argument, `{name}`")
    else:
        data = task.args[0]
    if not isinstance(data, dict):
        raise ValueError(f"`{name}` is not a JSON object")
    return data


def _of_account(event: E, account: str) -> E:
    if event.account != account:
        raise ValueError(f"account: {event.account!r} came through the queue of {account!r}")
    return event
