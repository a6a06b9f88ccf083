"""What becomes of the counters."""

import pytest

from benchmarks.reading import Moment, Spread, ratios

BEFORE = Moment(at=100.0, taken=500, worker=1.0, redis=2.0, simulator=3.0, own=10.0, machine=50.0)
AFTER = Moment(at=110.0, taken=10_500, worker=6.0, redis=3.0, simulator=5.0, own=20.0, machine=65.0)


def test_cpu_is_shared_out_over_the_reports_of_the_window() -> None:
    """Rate, CPU of each report and what others used: differences alone, nothing of what was before."""
    reading = BEFORE.until(AFTER)
    assert (reading.rate, reading.cores, reading.others) == (1000.0, 0.5, 0.5)
    assert (reading.worker_us, reading.redis_us, reading.simulator_us) == pytest.approx((500, 100, 200))


def test_a_worker_that_did_nothing_can_be_read() -> None:
    """No report at all is a rate of 0, not an error."""
    assert BEFORE.until(Moment(101.0, 500, 1.5, 2.0, 3.0, 10.0, 50.0)).rate == 0.0


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which everything was slow does not count for more."""
    assert ratios([300.0, 3000.0, 420.0], [100.0, 1000.0, 100.0]) == Spread(3.0, 3.0, 4.2)


def test_a_ratio_without_its_partner_is_refused() -> None:
    """Figures of different rounds are never compared."""
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


def test_a_spread_shows_its_ends_only_where_there_are_any() -> None:
    """One figure stands alone."""
    assert Spread.of([470.0]).text() == "470"
    assert Spread.of([1.0, 3.0, 1.5]).text(1) == "1.5 (1.0-3.0)"
