"""How fast a rate group goes after its provider throttled it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.limiter.rate import Rate

LIMIT = 1000.0
THROTTLED = Rate(lowered=140.0, top=200.0, lowered_at=1000.0)


def test_without_a_word_it_is_the_configured_one() -> None:
    """A group that was never throttled goes as fast as its settings say."""
    assert Rate().effective(LIMIT, 1000.0) == LIMIT


def test_it_begins_where_it_was_lowered_to() -> None:
    """Right after the step down; a step down that lies in the future, since a clock was set back, is long ago."""
    assert THROTTLED.effective(LIMIT, 1000.0) == pytest.approx(140.0)
    assert THROTTLED.effective(LIMIT, 999.0) == LIMIT


def test_it_stays_long_where_it_was_throttled() -> None:
    """Around that rate it climbs slowly: within seconds near it, and for seconds hardly above it."""
    near = [THROTTLED.effective(LIMIT, 1000.0 + seconds) for seconds in (7, 10, 13)]
    assert all(abs(rate - 200.0) < 5.0 for rate in near)


def test_it_comes_back_where_that_rate_holds() -> None:
    """A limit that was lowered for a while is found again within a minute, and never passed."""
    assert THROTTLED.effective(LIMIT, 1020.0) > 240.0
    assert THROTTLED.effective(LIMIT, 1060.0) == LIMIT
    assert THROTTLED.effective(LIMIT, 1e9) == LIMIT


def test_a_rate_by_hand_is_the_most() -> None:
    """It holds beside throttling, and never raises the configured rate."""
    assert Rate(override=50.0).effective(LIMIT, 0.0) == 50.0
    assert Rate(override=5000.0).effective(LIMIT, 0.0) == LIMIT
    assert Rate(140.0, 200.0, 1000.0, override=150.0).effective(LIMIT, 1e9) == 150.0


@given(
    top=st.floats(1, 1000),
    factor=st.floats(0.02, 1),
    seconds=st.lists(st.floats(0, 1e4), min_size=2, max_size=2).map(sorted),
    limit=st.floats(1, 1e5),
)
def test_it_never_falls_by_itself(top: float, factor: float, seconds: list[float], limit: float) -> None:
    """Whatever was throttled, the rate climbs and stays within its bounds."""
    rate = Rate(lowered=top * factor, top=top, lowered_at=0.0)
    sooner, later = (rate.effective(limit, moment) for moment in seconds)
    assert sooner <= later * (1 + 1e-9)
    assert 0 < later <= limit
