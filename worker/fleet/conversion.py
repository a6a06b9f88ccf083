"""The conversion rate: of the OTPs whose time ended in a period, the share that users verified."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.tracking.otps import Country, Otps
from worker.fleet.wording import count, span

LEAST = 30
"""Closed OTPs from which a rate is shown."""

WORST = 3
"""Countries that are named beside an account's rate."""

LATE = 60.0
"""Seconds of lag from which that is mentioned, as in OtpreportOtpNoticesLate."""

_Z = 1.96
"""Standard deviations on either side that hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """The closed OTPs of a period, and how many of them were verified."""

    verified: int = 0
    closed: int = 0

    @classmethod
    def of(cls, countries: Iterable[Country]) -> Conversion:
        """Add up the closed OTPs of countries."""
        total = sum(countries, Country())
        return cls(total.yes, total.closed)

    @property
    def rate(self) -> float | None:
        """The share that was verified; None of fewer than 30."""
        return self.verified / self.closed if self.closed >= LEAST else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Between what the rate is, chance aside, with 95 % confidence (Wilson); None of fewer than 30."""
        if (rate := self.rate) is None:
            return None
        share = _Z * _Z / self.closed
        centre = (rate + share / 2) / (1 + share)
        width = math.sqrt(share * rate * (1 - rate) + share * share / 4) / (1 + share)
        return max(0.0, centre - width), min(1.0, centre + width)


def percent(rate: float | None) -> str:
    """Return `71 %`, or a dash."""
    return "-" if rate is None else f"{rate * 100:.0f} %"


def sentence(otps: Otps) -> str:
    """Return the rate of the last full hour beside that of the same hour a day before, and the worst countries."""
    if not otps.total.sent:
        return f"{otps.account}: no conversion rate yet: verified OTPs are reported, and no Dispatch"
    now, before = Conversion.of(otps.hour.values()), Conversion.of(otps.yesterday.values())
    if now.rate is None:
        closed = f"{count(now.closed, 'OTP')} closed in the last full hour, of the {LEAST} it takes"
        return f"{otps.account}: no conversion rate here yet, {closed}; `otpreport conversion` has the hour under way"
    parts = [f"conversion {percent(now.rate)}{_before(before, 'yesterday ')}"]
    parts += (f"{code} {percent(rate.rate)}{_before(was)}" for code, rate, was in worst(otps))
    return f"{otps.account}: {', '.join(parts)}"


def worst(otps: Otps) -> list[tuple[str, Conversion, Conversion]]:
    """Return the countries that fell most, beyond chance: code, last full hour, yesterday.

    On day one they are those below the account's rate.
    """
    whole = Conversion.of(otps.hour.values()).rate or 0.0
    found: list[tuple[float, str, Conversion, Conversion]] = []
    for code, country in otps.hour.items():
        now, before = Conversion.of([country]), Conversion.of([otps.yesterday.get(code, Country())])
        usual = whole if before.rate is None else before.rate
        if now.rate is not None and now.interval is not None and now.interval[1] < usual:
            found.append((now.rate - usual, code, now, before))
    return [(code, now, before) for _, code, now, before in sorted(found, key=lambda row: row[:2])[:WORST]]


def troubles_of(otps: Otps) -> Iterator[str]:
    """Yield what makes an account's rate old or meaningless."""
    total = otps.total
    if otps.lag > LATE:
        notices = count(otps.waiting, "notice")
        yield f"OTPs of {otps.account} are counted late: {notices}, the oldest for {span(otps.lag)}"
    if otps.unmatched and not total.sent:
        verified = count(otps.unmatched, "OTP")
        yield f"{otps.account}: {verified} verified, but never reported as sent: does the app report Dispatch?"
    if total.closed >= LEAST and not total.verified:
        closed = count(total.closed, "OTP")
        yield f"{otps.account}: none of {closed} verified: has the app that reports verifications tracking=True?"


def _before(conversion: Conversion, word: str = "") -> str:
    return "" if conversion.rate is None else f" ({word}{percent(conversion.rate)})"
