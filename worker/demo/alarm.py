"""Which alerts of deploy/alerts.yml would fire: worked out here, as the demo has no Prometheus."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tasks.tracking.otps import Country

WINDOW = 10
"""Minutes that the quick alerts look back."""

USUAL_FROM = 30
"""Closed OTPs from which a country's usual rate is known; the shipped rules want 100."""

EXPECTED = 30
BURST, TIMES_USUAL = 50, 5
HALF, PUMPED = 0.5, 0.35

Counts = Mapping[str, Country]


@dataclass(frozen=True, slots=True)
class Ring:
    """An alert that would fire; `value` is the share of the usual, or the conversion rate of a burst."""

    alert: str
    country: str
    value: float


HOLD = {"OtpreportConversionCollapsed": 2, "OtpreportCountryConversionCollapsed": 5, "OtpreportOtpsPumped": 2}
"""Minutes for which the condition of an alert has to hold."""


class Alarm:
    """Looks at the counts once a minute."""

    def __init__(self) -> None:
        self._seen: deque[Counts] = deque()
        self._since: dict[tuple[str, str], int] = {}
        self._minute = -1

    def look(self, counts: Counts) -> list[Ring]:
        """Return the alerts that begin to fire with these counts."""
        self._minute += 1
        self._seen.append(counts)
        held = {(ring.alert, ring.country): ring for ring in self._conditions()}
        self._since = {key: self._since.get(key, self._minute) for key in held}
        return [held[key] for key, since in self._since.items() if self._minute - since == HOLD[key[0]]]

    def grown(self, country: str) -> Country:
        """Return how much a country's counts grew in the window."""
        return self._at(0, country) - self._at(WINDOW, country)

    def _at(self, ago: int, country: str) -> Country:
        return self._seen[max(0, len(self._seen) - 1 - ago)].get(country, Country())

    def _conditions(self) -> Iterator[Ring]:
        verified = expected = 0.0
        for country in self._seen[-1]:
            grown, before = self.grown(country), self._at(WINDOW, country)
            if self._is_burst(grown, before):
                if (rate := grown.verified / grown.sent) < PUMPED:
                    yield Ring("OtpreportOtpsPumped", country, rate)
            elif before.closed >= USUAL_FROM:
                usual = grown.sent * before.yes / before.closed
                verified, expected = verified + grown.verified, expected + usual
                if usual >= EXPECTED and grown.verified < HALF * usual:
                    yield Ring("OtpreportCountryConversionCollapsed", country, grown.verified / usual)
        if expected >= EXPECTED and verified < HALF * expected:
            yield Ring("OtpreportConversionCollapsed", "", verified / expected)

    def _is_burst(self, grown: Country, before: Country) -> bool:
        minutes = len(self._seen) - 1 - WINDOW
        return (
            minutes > 0 and grown.sent >= BURST and grown.sent > TIMES_USUAL * before.sent * WINDOW / minutes
        )
