"""Which definition of the conversion rate is shown, and why: the same OTPs by three of them."""

import pytest

from tests.support.cohorts import Cohorts, Curve, cohorts

CHANGE = 3600
"""The second at which something changes."""

AFTER = range(CHANGE, CHANGE + 2400, 10)


def usual(_: int) -> float:
    """Return ten OTPs a step, or seven in ten of them."""
    return 0.7


def changed(factor: float) -> Curve:
    """Return ten OTPs a step, from the change on so many times as many."""
    return lambda second: 10 * (factor if second >= CHANGE else 1)


def run(sent: Curve, conversion: Curve = usual) -> Cohorts:
    """Count until well after the change."""
    return cohorts(sent, conversion, CHANGE + 2400)


@pytest.mark.parametrize("factor", [5, 1 / 5], ids=["campaign", "night"])
def test_the_closed_rate_is_right_whatever_the_traffic(factor: float) -> None:
    """A campaign and a night change the number of OTPs and not the rate: the rate that is shown stays."""
    counted = run(changed(factor))
    assert {round(counted.closed(second), 6) for second in AFTER} == {0.7}


def test_the_live_rate_is_off_by_a_little() -> None:
    """Verified / sent is low at the start of a campaign and high at nightfall, so its alerts need a wide margin."""
    campaign, night = run(changed(5)), run(changed(1 / 5))
    assert 0.55 < min(campaign.live(second) for second in AFTER) < 0.65
    assert 0.80 < max(night.live(second) for second in AFTER) < 0.90


def test_the_mixed_rate_is_wrong() -> None:
    """Control: verified / (verified + expired), as they happen, moves by a third while nothing is wrong."""
    campaign, night = run(changed(5)), run(changed(1 / 5))
    assert max(campaign.mixed(second) for second in AFTER) > 0.85
    assert min(night.mixed(second) for second in AFTER) < 0.47


def test_when_each_falls() -> None:
    """When delivery fails the live rate halves within minutes, the closed one an OTP's time later."""
    counted = run(changed(1), lambda second: 0.7 if second < CHANGE else 0.1)
    halved = {
        name: next(second - CHANGE for second in AFTER if rate(second) < 0.35)
        for name, rate in {"live": counted.live, "closed": counted.closed}.items()
    }
    assert halved["live"] <= 420
    assert halved["live"] + 240 <= halved["closed"] <= 360 + 600
    assert counted.closed(AFTER[-1]) == counted.live(AFTER[-1]) == pytest.approx(0.1)


def test_pumping_is_seen_at_once_by_the_live_rate() -> None:
    """Robots send five times the usual: the live rate falls within two minutes, the closed one when theirs expire."""
    counted = run(changed(6), lambda second: 0.7 if second < CHANGE else 0.7 / 6)
    assert counted.live(CHANGE + 120) < 0.36
    assert counted.closed(CHANGE + 350) == pytest.approx(0.7)
    assert counted.closed(AFTER[-1]) == pytest.approx(0.7 / 6)
