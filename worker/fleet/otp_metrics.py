"""The metrics of the accounts whose OTPs are tracked.

Every country is served from the start, at 0, so that `increase` sees the first OTPs to a country too: 1000 series an
account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from tasks.countries import COUNTRIES
from tasks.tracking.otps import BUCKETS, Country, Otps

_NONE = Country()

_BOUNDS = tuple("+Inf" if bound == "inf" else str(float(bound)) for bound in BUCKETS)
"""The upper bounds of BUCKETS, as Prometheus writes them."""


def otp_metrics(tracked: Sequence[Otps]) -> Iterator[Metric]:
    """Yield them, without series where no account is tracked."""
    yield _by_country("otps_sent", "OTPs sent.", tracked, lambda country: country.sent)
    text = "OTPs verified, counted when the user entered the code."
    yield _by_country("otps_verified", text, tracked, lambda country: country.verified)
    yield _closed(tracked)
    text = "OTPs whose time is not over."
    yield _gauge("otps_open", text, tracked, lambda otps: otps.open)
    text = "Accounting discrepancy: OTPs neither open nor closed, or of whose report nothing is known. Should be 0."
    yield _gauge("otps_gap", text, tracked, lambda otps: otps.gap)
    text = "OTPs verified, but not reported as sent within 15 minutes."
    unmatched = CounterMetricFamily("otpreport_otps_unmatched", text, labels=("account",))
    for otps in tracked:
        unmatched.add_metric((otps.account,), otps.unmatched)
    yield unmatched
    yield _seconds(tracked)
    yield _unverified(tracked)
    text = "Notices of OTPs sent and verified that are not counted yet."
    yield _gauge("otp_notices_waiting", text, tracked, lambda otps: otps.waiting)
    text = "For how long the oldest notice has waited; 0 if none waits."
    yield _gauge("otp_notice_lag_seconds", text, tracked, lambda otps: otps.lag)


def _by_country(name: str, text: str, tracked: Sequence[Otps], count: Callable[[Country], int]) -> Metric:
    family = CounterMetricFamily(f"otpreport_{name}", text, labels=("account", "country"))
    for otps in tracked:
        for code in COUNTRIES:
            family.add_metric((otps.account, code), count(otps.countries.get(code, _NONE)))
    return family


def _closed(tracked: Sequence[Otps]) -> Metric:
    text = "OTPs whose time is over, by whether they were verified in it: the conversion rate's two sides."
    family = CounterMetricFamily("otpreport_otps_closed", text, labels=("account", "country", "verified"))
    for otps in tracked:
        for code in COUNTRIES:
            country = otps.countries.get(code, _NONE)
            family.add_metric((otps.account, code, "yes"), country.yes)
            family.add_metric((otps.account, code, "no"), country.no)
    return family


def _seconds(tracked: Sequence[Otps]) -> Metric:
    text = "Time from sent to verified."
    family = HistogramMetricFamily("otpreport_otp_verification_seconds", text, labels=("account",))
    for otps in tracked:
        counts = accumulate(otps.seconds.get(bound, 0) for bound in BUCKETS)
        family.add_metric((otps.account,), list(zip(_BOUNDS, counts, strict=True)), otps.seconds_sum)
    return family


def _unverified(tracked: Sequence[Otps]) -> Metric:
    text = (
        "Automatic reports of OTPs not verified: `queued`, `withheld` for lack of room, `unsaid` where the provider "
        "takes none or none is wanted; `refused` are those of the queued that failed for good."
    )
    family = CounterMetricFamily("otpreport_unverified_reports", text, labels=("account", "result"))
    for otps in tracked:
        for result, count in otps.unverified_reports.items():
            family.add_metric((otps.account, result), count)
    return family


def _gauge(name: str, text: str, tracked: Sequence[Otps], figure: Callable[[Otps], float]) -> Metric:
    family = GaugeMetricFamily(f"otpreport_{name}", text, labels=("account",))
    for otps in tracked:
        family.add_metric((otps.account,), figure(otps))
    return family
