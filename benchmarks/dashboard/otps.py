"""Half a day of OTPs, computed and not lived through: a night, a country whose SMS do not arrive, and SMS pumping."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.dashboard.page import Page
from tests.support.cohorts import DELAYS, STEP, Cohorts, Curve, cohorts
from tests.support.prometheus import Prometheus

HOUR = 3600
HOURS = 12
BUCKETS = (5, 10, 20, 30, 60, 120, 300, 600)
"""As tasks/tracking/otps.py has them, in seconds."""


def _between(begin: float, end: float, inside: float, outside: float) -> Curve:
    """Return one figure between two hours, another at other times."""
    return lambda second: inside if begin * HOUR <= second < end * HOUR else outside


COUNTRIES: Mapping[str, tuple[Curve, Curve]] = {
    "CN": (_between(1, 6, 4, 17), lambda _: 0.72),
    "BR": (lambda _: 4, _between(7.5, 9, 0.05, 0.61)),
    "SG": (_between(1, 6, 1, 3), lambda _: 0.81),
    "NG": (_between(10, 10.7, 14, 0), lambda _: 0.0),
}
"""For each country how many OTPs are sent in ten seconds, and the share that is verified."""


@contextmanager
def otps(folder: Path) -> Generator[Page]:
    """Yield what can draw it."""
    end = int(time.time()) // HOUR * HOUR
    counted = {country: cohorts(*curves, HOURS * HOUR) for country, curves in COUNTRIES.items()}
    text = folder / "otps.txt"
    text.write_text("\n".join([*_lines(counted, end - HOURS * HOUR), "# EOF\n"]))
    with Filled(folder / "prometheus", text) as prometheus:
        yield Page(prometheus, end - (HOURS - 1) * HOUR, end, step=60.0)


class Filled(Prometheus):
    """A server that has what a file of OpenMetrics holds."""

    def __init__(self, folder: Path, text: Path) -> None:
        super().__init__(folder, {})
        self._text = text

    def _arguments(self, data: Path) -> list[str]:
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(self._text), str(data)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return super()._arguments(data)


def _lines(counted: Mapping[str, Cohorts], begin: int) -> Iterator[str]:
    """Yield each counter once a minute, as OpenMetrics."""
    account = 'account="tencent"'
    for name, part in (("sent", ""), ("verified", ""), ("closed", "yes"), ("closed", "no")):
        if part != "no":
            yield f"# TYPE otpreport_otps_{name} counter"
        for country, counts in counted.items():
            labels = f'{account},country="{country}"' + (f',verified="{part}"' if part else "")
            yield from _series(
                f"otpreport_otps_{name}_total{{{labels}}}", getattr(counts, part or name), begin
            )
    verified = [sum(row) for row in zip(*(counts.verified for counts in counted.values()), strict=True)]
    unverified = [sum(row) for row in zip(*(counts.no for counts in counted.values()), strict=True)]
    yield "# TYPE otpreport_otp_verification_seconds histogram"
    parts = [sum(part for delay, part in DELAYS.items() if delay <= bound) for bound in BUCKETS]
    for bound, share in (*zip(BUCKETS, parts, strict=True), ("+Inf", 1.0)):
        name = f'otpreport_otp_verification_seconds_bucket{{{account},le="{bound}"}}'
        yield from _series(name, [value * share for value in verified], begin)
    yield "# TYPE otpreport_unverified_reports counter"
    yield from _series(f'otpreport_unverified_reports_total{{{account},result="unsaid"}}', unverified, begin)
    yield "# TYPE otpreport_otp_notice_lag_seconds gauge"
    yield from _series(f"otpreport_otp_notice_lag_seconds{{{account}}}", [0.2] * len(verified), begin)


def _series(name: str, values: Sequence[float], begin: int) -> Iterator[str]:
    """Yield a value a minute."""
    for minute, value in enumerate(values[:: 60 // STEP]):
        yield f"{name} {value:.3f} {begin + 60 * minute}"
