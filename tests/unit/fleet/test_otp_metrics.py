"""The metrics of OTPs, as Prometheus reads them."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from tasks.countries import COUNTRIES
from tasks.tracking.otps import BUCKETS, Country, Otps
from worker.fleet.otp_metrics import otp_metrics

OTPS = Otps(
    "tencent",
    0,
    {"BR": Country(10, 6, 5, 4), "SG": Country(1, 0, 0, 1)},
    open=1,
    waiting=2,
    lag=3.5,
    seconds=dict.fromkeys(BUCKETS, 1),
    seconds_sum=99.0,
    unmatched=7,
    queued=1,
    withheld=1,
    unsaid=1,
    refused=2,
)


def samples(metrics: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and label values."""
    return {
        (sample.name.removeprefix("otpreport_"), *sample.labels.values()): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def test_nothing_is_served_of_who_does_not_track() -> None:
    """An account that is not tracked has no series."""
    assert samples(otp_metrics([])) == {}


def test_every_count_is_served() -> None:
    """Each has its name, its labels and, as a counter, never falls: what was refused stays among the queued."""
    found = samples(otp_metrics([OTPS]))
    assert found["otps_sent_total", "tencent", "BR"] == 10
    assert found["otps_verified_total", "tencent", "BR"] == 6
    assert found["otps_closed_total", "tencent", "BR", "yes"] == 5
    assert found["otps_closed_total", "tencent", "BR", "no"] == 4
    assert (found["otps_open", "tencent"], found["otps_gap", "tencent"]) == (1, 0)
    assert found["otps_unmatched_total", "tencent"] == 7
    assert (found["otp_notices_waiting", "tencent"], found["otp_notice_lag_seconds", "tencent"]) == (2, 3.5)
    results = ("queued", "withheld", "unsaid", "refused")
    assert [found["unverified_reports_total", "tencent", result] for result in results] == [3, 1, 1, 2]


def test_every_country_is_served_from_the_start() -> None:
    """The first OTPs to a country are growth from 0: that is how SMS pumping is seen."""
    found = samples(otp_metrics([OTPS]))
    assert {labels[2] for labels in found if labels[0] == "otps_sent_total"} == set(COUNTRIES)
    assert found["otps_sent_total", "tencent", "NG"] == found["otps_closed_total", "tencent", "NG", "no"] == 0
    assert len(found) < 1050


def test_the_histogram_adds_up() -> None:
    """Its buckets are cumulative, and its count is that of all."""
    found = samples(otp_metrics([OTPS]))
    name = "otp_verification_seconds"
    assert [found[f"{name}_bucket", "tencent", le] for le in ("5.0", "10.0", "600.0", "+Inf")] == [1, 2, 8, 9]
    assert (found[f"{name}_count", "tencent"], found[f"{name}_sum", "tencent"]) == (9, 99)


def test_a_gap_of_either_kind_is_served() -> None:
    """What is missing in one equation does not cancel what is too much in the other."""
    lost = Otps("tencent", 0, {"BR": Country(sent=3, no=1)}, open=1, queued=2)
    assert samples(otp_metrics([lost]))["otps_gap", "tencent"] == 2
