"""Where every event of every account is at one moment, as the exporter and the operator see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from otpreport import Verification
from tasks.accounts.states import FIELDS, State
from tasks.delivery import argument
from tasks.keys import Keys
from tasks.limiter.rate import Rate
from tasks.message import decode
from tasks.script import Arguments, text_of
from tasks.settlement import Ending
from tasks.shared import AUTOMATIC, MAX_BYTES, SOON_MS
from tasks.stored import integer, number, text
from tasks.tracking.otps import Otps

if TYPE_CHECKING:
    from redis import Redis

RATE_VALUES = 9
"""What snapshot.lua tells of a rate group."""

PURGED = "purged"
TAKEN = "taken"
ENDED = (*(ending.value for ending in Ending), PURGED)
"""The counts in the books of events that have ended."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An account's dead letters and their limits, as a worker last saw them; 0 where none did.

    `bytes` is their approximate size, `part` its limit, 0 for none; `most` is the limit of their number, `age_ms` that
    of their age, and `ending` counts those that reach it within three days, or a tenth of it.
    """

    bytes: int = 0
    part: int = 0
    most: int = 0
    age_ms: int = 0
    ending: int = 0

    @property
    def soon(self) -> float:
        """Seconds within which those that are `ending` get too old."""
        return min(SOON_MS, self.age_ms / 10) / 1000


@dataclass(frozen=True, slots=True)
class InFlight:
    """What Redis counts of a rate group with MAX_IN_FLIGHT.

    `open`: requests that may be open. `from_ms`: when permits are given again; until then requests may be open that
    Redis does not count.
    """

    open: int
    from_ms: int
    most: int | None = None
    """The limit that its live workers announce; None where none does."""


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """One account at one moment; `oldest_ms` is when the oldest waiting event occurred."""

    name: str
    configured: bool
    now_ms: int
    ready: int
    scheduled: int
    records: int
    dead: int
    dead_by_reason: Mapping[str, int]
    booked: Mapping[str, int]
    oldest_ms: int | None
    state: State
    rate: Rate
    kept: Kept = Kept()
    in_flight: InFlight | None = None
    """None: no worker limits the requests in flight of its rate group, or did."""
    otps: Otps | None = None
    """Its OTPs, if they are tracked."""

    @property
    def kept_shares(self) -> dict[str, float]:
        """The share that dead letters use of their number and of their memory, where there is such a bound."""
        shares = {"count": (self.dead, self.kept.most), "memory": (self.kept.bytes, self.kept.part)}
        return {bound: used / most for bound, (used, most) in shares.items() if most}

    @property
    def leased(self) -> int:
        """Events that a worker holds: taken, and not waiting for another attempt."""
        return max(0, self.records - self.scheduled)

    @property
    def waiting(self) -> int:
        """Events that no worker holds."""
        return self.ready + self.scheduled

    @property
    def oldest_age(self) -> float:
        """Seconds since the code of the oldest waiting event was entered; 0 when nothing waits."""
        if self.oldest_ms is None or not self.waiting:
            return 0.0
        return max(0.0, (self.now_ms - self.oldest_ms) / 1000)

    @property
    def places(self) -> dict[str, int]:
        """The taken events, by the books and by the indexes."""
        ended = {place: self.booked.get(place, 0) for place in (TAKEN, *ENDED)}
        return ended | {"dead": self.dead, "leased": self.leased, "scheduled": self.scheduled}

    @property
    def gap(self) -> int:
        """Events taken and in no place: 0, or something was lost (negative: counted twice)."""
        ended = sum(self.booked.get(place, 0) for place in ENDED)
        return self.booked.get(TAKEN, 0) - ended - self.dead - self.records

    def effective_rate(self, configured: float) -> float:
        """Return the rate that the account may use now, in requests/s, out of its group's configured one."""
        end = (self.now_ms + 1) / 1000  # of this millisecond, in which the rate may have been lowered
        return self.rate.effective(configured, end) * self.state.share(self.now_ms)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fleet at one moment: the configured accounts in their order, then those only the books know."""

    now_us: int
    workers: int
    accounts: tuple[AccountSnapshot, ...]
    faults: tuple[str, ...] = ()
    """Keys that can't be used, each with the reason; what they hold counts as nothing."""

    @property
    def configured(self) -> Iterator[AccountSnapshot]:
        """The accounts of the settings."""
        return (account for account in self.accounts if account.configured)

    @property
    def unconfigured(self) -> Iterator[AccountSnapshot]:
        """The accounts that are in Redis but not in the settings."""
        return (account for account in self.accounts if not account.configured)

    @property
    def gap(self) -> int:
        """Events of all accounts that are in no place, or in two."""
        return sum(abs(account.gap) for account in self.accounts)

    @property
    def otps(self) -> Iterator[Otps]:
        """The OTPs of the accounts that are tracked."""
        return (account.otps for account in self.accounts if account.otps)

    @property
    def otps_gap(self) -> int:
        """OTPs of all accounts that are in no place, or in two: neither closed nor open, or with an unknown report."""
        return sum(otps.gap for otps in self.otps)


class SnapshotReader:
    """Read the whole fleet in one call; `groups` maps each configured account to its rate group."""

    def __init__(self, client: Redis, keys: Keys, groups: Mapping[str, str]) -> None:
        self._script = client.register_script(text_of("fleet/snapshot.lua"))
        names = (word for pair in groups.items() for word in pair)
        self._arguments: Arguments = [keys.prefix, MAX_BYTES, *names]
        self._configured = frozenset(groups)

    def read(self) -> Snapshot:
        """Return the fleet as it is now; redis.RedisError when Redis is away."""
        reply = cast("list[object]", self._script([], self._arguments))
        now_us = int(cast("bytes", reply[0]))
        books, reasons = _by_account(reply[2]), _by_account(reply[3])
        faults = tuple(text(fault) for fault in cast("list[bytes]", reply[4]))
        rows = cast("list[list[object]]", reply[5:])
        accounts = tuple(self._account(row, now_us, books, reasons) for row in rows)
        return Snapshot(now_us, cast("int", reply[1]), accounts, faults)

    def _account(
        self,
        row: Sequence[object],
        now_us: int,
        books: Mapping[str, Mapping[str, int]],
        reasons: Mapping[str, Mapping[str, int]],
    ) -> AccountSnapshot:
        name, ready, oldest, scheduled, suspects, records, dead = row[:7]
        account = text(name)
        aged, *values = (text(value) for value in row[7:-1])
        times = [_occurred_ms(raw) for raw in cast("list[bytes]", oldest)]
        times.append(integer(aged) or None)
        return AccountSnapshot(
            name=account,
            configured=account in self._configured,
            now_ms=now_us // 1000,
            ready=cast("int", ready),
            scheduled=cast("int", scheduled) + cast("int", suspects),
            records=cast("int", records),
            dead=cast("int", dead),
            dead_by_reason=reasons.get(account, {}),
            booked=books.get(account, {}),
            oldest_ms=min((time for time in times if time is not None), default=None),
            state=State.of(values[: len(FIELDS)], now_us // 1000),
            rate=_rate(*values[len(FIELDS) : len(FIELDS) + RATE_VALUES]),
            kept=Kept(*(integer(value) or 0 for value in values[len(FIELDS) + RATE_VALUES : -3])),
            in_flight=_in_flight(*values[-3:]),
            otps=Otps.read(account, now_us // 1000, cast("list[object]", row[-1])),
        )


def _by_account(flat: object) -> dict[str, dict[str, int]]:
    """Return the counts of a hash of `<account>:<word>`."""
    found: dict[str, dict[str, int]] = {}
    values = cast("list[bytes]", flat)
    for field, count in zip(values[::2], values[1::2], strict=True):
        account, _, word = text(field).partition(":")
        found.setdefault(account, {})[word] = int(count)
    return found


def _rate(
    lowered: str, top: str, lowered_us: str, override: str, throttled_ms: str, reason_for: str, *reason: str
) -> Rate:
    since, by, why = reason if reason_for == override else ("", "", "")
    return Rate(
        number(lowered),
        number(top) or number(lowered) or 0.0,
        (number(lowered_us) or 0.0) / 1e6,
        number(override),
        throttled_ms=integer(throttled_ms),
        override_ms=integer(since),
        override_by=by,
        override_why=why,
    )


def _in_flight(open_: str, from_us: str, most: str) -> InFlight | None:
    if not open_ and not most:
        return None
    return InFlight(integer(open_) or 0, (integer(from_us) or 0) // 1000, integer(most))


def _occurred_ms(raw: bytes) -> int | None:
    """Return when the code of a waiting message was entered; None where it does not say, or nobody waits for it."""
    if AUTOMATIC.encode() in raw:
        return None
    try:
        event = argument(decode(raw))
        return Verification.from_wire(cast("dict[str, object]", event)).occurred_at_ms
    except (ValueError, TypeError, AttributeError):
        return None
