"""How a leased event ends its lease: finished, noted, scheduled again, or buried."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tasks.retry import Reason


class Ending(enum.StrEnum):
    """How an event that is not a dead letter ended; the words of the books and of `events_total`."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    SKIPPED = "skipped"
    SHED = "shed"
    TRACKED = "tracked"
    """It says that an OTP was sent, which is noted and not reported."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The event is done; a delivered one is remembered."""

    ending: Ending


DELIVERED = Finish(Ending.DELIVERED)


@dataclass(frozen=True, slots=True)
class Track:
    """The message says that an OTP was sent: its `notice` goes to the account's tracker."""

    notice: bytes
    ignored: tuple[str, ...] = ()
    """Which options of the message are ignored."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The event waits in Redis for `delay` seconds; `record` replaces what is stored, None leaves it.

    `eta`: the time is its producer's `eta`, which has no upper bound. `unsent`: it is a probe that could not leave its
    worker's machine.
    """

    delay: float
    record: bytes | None = None
    eta: bool = False
    unsent: bool = False


@dataclass(frozen=True, slots=True)
class Bury:
    """The event becomes a dead letter, whose stored form is `letter`."""

    reason: Reason
    letter: bytes


Settlement = Finish | Track | Schedule | Bury
