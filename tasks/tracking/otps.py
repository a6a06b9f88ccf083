"""The OTPs of one account at one moment: sent, verified, closed, and what became of those not verified."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from tasks.shared import LATENCIES

BUCKETS = (*map(str, LATENCIES), "inf")
"""The upper bounds of the histogram of the time from sent to verified, in seconds."""

_WORDS = ("unmatched", "late", "queued", "withheld", "unsaid", "refused")
"""Fields of an account's hash that are counts of `Otps` under the same names."""


@dataclass(frozen=True, slots=True)
class Country:
    """OTPs to one country: `sent` and `verified` count when noted, `yes` and `no` when an OTP's time is over."""

    sent: int = 0
    verified: int = 0
    yes: int = 0
    no: int = 0

    @property
    def closed(self) -> int:
        """Those whose time is over."""
        return self.yes + self.no

    def __add__(self, other: Country) -> Country:
        return Country(
            self.sent + other.sent,
            self.verified + other.verified,
            self.yes + other.yes,
            self.no + other.no,
        )

    def __sub__(self, other: Country) -> Country:
        return Country(
            self.sent - other.sent,
            self.verified - other.verified,
            self.yes - other.yes,
            self.no - other.no,
        )


@dataclass(frozen=True, slots=True)
class Otps:
    """One tracked account; every count but `open` and `waiting` only rises.

    `unmatched` counts verified ones of which nobody said within 15 minutes that they were sent, `late` those verified
    after they were closed as not verified. Of the `no`: `queued` reports were put into the queue and are not `refused`
    (so it may fall; `enqueued` does not), `withheld` did not fit there, `unsaid` are not reported at all.
    """

    account: str
    now_ms: int
    countries: Mapping[str, Country] = field(default_factory=dict[str, Country])
    open: int = 0
    waiting: int = 0
    """Notices that are not noted yet."""
    lag: float = 0.0
    """Seconds for which the oldest of them has waited at most; 0 where none waits."""
    seconds: Mapping[str, int] = field(default_factory=dict[str, int])
    """Upper bound in seconds to the OTPs verified within it and not within the one before."""
    seconds_sum: float = 0.0
    unmatched: int = 0
    late: int = 0
    queued: int = 0
    withheld: int = 0
    unsaid: int = 0
    refused: int = 0
    hour: Mapping[str, Country] = field(default_factory=dict[str, Country])
    """`yes` and `no` of the last full hour, by country."""
    yesterday: Mapping[str, Country] = field(default_factory=dict[str, Country])
    """The same of that hour a day before."""

    @classmethod
    def read(cls, account: str, now_ms: int, reply: Sequence[object]) -> Otps | None:
        """Read what snapshot.lua tells of an account; None if it is not tracked."""
        if not reply:
            return None
        is_tracked, open_, waiting, oldest, counts, hour, yesterday = reply
        if not is_tracked and not waiting:
            return None
        fields = _fields(counts)
        noted_ms = fields.get("noted") or _time_of(cast("bytes", oldest)) or now_ms
        return cls(
            account=account,
            now_ms=now_ms,
            countries=countries_of(fields),
            open=cast("int", open_),
            waiting=cast("int", waiting),
            lag=max(0, now_ms - noted_ms) / 1000 if waiting else 0.0,
            seconds={bound: fields.get(f"le:{bound}", 0) for bound in BUCKETS},
            seconds_sum=fields.get("latency", 0) / 1000,
            **{word: fields.get(word, 0) for word in _WORDS},
            hour=countries_of(_fields(hour)),
            yesterday=countries_of(_fields(yesterday)),
        )

    @property
    def total(self) -> Country:
        """All countries together."""
        return sum(self.countries.values(), Country())

    @property
    def enqueued(self) -> int:
        """Reports of OTPs not verified that were put into the queue, whatever became of them."""
        return self.queued + self.refused

    @property
    def sent_gap(self) -> int:
        """OTPs sent that are neither closed nor open: 0, or a fault (negative: counted twice)."""
        total = self.total
        return total.sent - total.closed - self.open

    @property
    def unverified_gap(self) -> int:
        """OTPs closed as not verified of which nothing is known further: 0, or a fault."""
        return self.total.no - self.queued - self.withheld - self.unsaid - self.refused

    @property
    def gap(self) -> int:
        """OTPs with either fault; 0, or the books are wrong."""
        return abs(self.sent_gap) + abs(self.unverified_gap)

    @property
    def unverified_reports(self) -> Mapping[str, int]:
        """What became of the reports of those closed as not verified, in counts that never fall."""
        return {
            "queued": self.enqueued,
            "withheld": self.withheld,
            "unsaid": self.unsaid,
            "refused": self.refused,
        }


def _fields(flat: object) -> dict[str, int]:
    """Return the fields of a hash of counts."""
    values = cast("list[bytes]", flat)
    return {
        name.decode(errors="replace"): int(count)
        for name, count in zip(values[::2], values[1::2], strict=True)
    }


def countries_of(fields: Mapping[str, int]) -> dict[str, Country]:
    """Return the counts of `<CC>:<word>` by country, in alphabetical order."""
    found: dict[str, dict[str, int]] = {}
    for name, count in fields.items():
        if match := re.fullmatch(r"([A-Z]{2}):(sent|verified|yes|no)", name):
            found.setdefault(match[1], {})[match[2]] = count
    return {code: Country(**found[code]) for code in sorted(found)}


def _time_of(notice: bytes) -> int | None:
    """Return the time of a notice in ms."""
    match = re.match(rb"(?:sent|verified) (\d{1,15}) ", notice)
    return int(match[1]) if match else None
