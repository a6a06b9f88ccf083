"""OTPs under changing traffic, in expected values: what the counters read, and the rate by three definitions of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

STEP = 10
"""Seconds between two readings."""

DELAYS = {10: 0.18, 20: 0.30, 30: 0.22, 50: 0.14, 80: 0.09, 120: 0.04, 200: 0.03}
"""Seconds from sent to verified, and the share of the verified OTPs that take so long."""

CLOSE = 360
"""Seconds from sent to the OTP's end: an `expires_in` of 300 s, and the grace of 60 s."""

WINDOW = 600
"""Seconds that a rate looks back."""

Curve = Callable[[int], float]
"""A figure that changes over time: OTPs a step, or the share of them that users verify, at a second."""


@dataclass(frozen=True, slots=True)
class Cohorts:
    """What each counter reads at each step."""

    sent: tuple[float, ...]
    verified: tuple[float, ...]
    yes: tuple[float, ...]
    no: tuple[float, ...]

    def live(self, second: int) -> float:
        """Return verified / sent, each as it happens."""
        return self._growth(self.verified, second) / self._growth(self.sent, second)

    def mixed(self, second: int) -> float:
        """Return verified / (verified + expired), each as it happens."""
        verified = self._growth(self.verified, second)
        return verified / (verified + self._growth(self.no, second))

    def closed(self, second: int) -> float:
        """Return the verified share of the OTPs whose time ended in the window."""
        yes = self._growth(self.yes, second)
        return yes / (yes + self._growth(self.no, second))

    @staticmethod
    def _growth(counter: tuple[float, ...], second: int) -> float:
        return counter[second // STEP] - counter[(second - WINDOW) // STEP]


def cohorts(sent: Curve, conversion: Curve, seconds: int) -> Cohorts:
    """Send `sent` OTPs each step, of which `conversion` are verified, and return the counters."""
    steps = seconds // STEP + 1
    each = [[0.0] * steps for _ in range(4)]
    for step in range(steps - 1):
        otps, share = sent(step * STEP), conversion(step * STEP)
        happenings = [(0, 0, otps), (2, CLOSE, otps * share), (3, CLOSE, otps * (1 - share))]
        happenings += [(1, delay, otps * share * part) for delay, part in DELAYS.items()]
        for counter, delay, number in happenings:
            if (when := step + 1 + delay // STEP) < steps:
                each[counter][when] += number
    return Cohorts(*(tuple(accumulate(counter)) for counter in each))
