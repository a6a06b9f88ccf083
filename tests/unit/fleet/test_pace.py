"""Deliveries a second, from the books."""

from worker.fleet.pace import SPAN, TRAIL, Pace


def test_a_pace_needs_two_looks() -> None:
    """One look says nothing of speed."""
    pace = Pace()
    assert pace.of("a") is None
    pace.observe(0, {"a": 5_000_000})
    assert (pace.of("a"), pace.trail("a")) == (None, ())
    pace.observe(1_000_000, {"a": 5_000_100, "b": 0})
    assert (pace.of("a"), pace.of("b")) == (100.0, 0.0)


def test_it_follows_within_its_span() -> None:
    """After the last seconds nothing of what was before counts."""
    pace = Pace()
    for second in range(20):
        pace.observe(second * 1_000_000, {"a": 100 * second if second < 10 else 1000 + 10 * (second - 10)})
    assert pace.of("a") == 10.0
    assert pace.trail("a")[8] == 100.0


def test_looks_that_lie_far_apart_are_compared_all_the_same() -> None:
    """`--interval 60` has a pace, too."""
    pace = Pace()
    for i in range(3):
        pace.observe(round(i * 10 * SPAN * 1e6), {"a": i * 500})
    assert pace.of("a") == 500 / (10 * SPAN)


def test_looks_that_lie_close_are_not_compared() -> None:
    """Twenty settled at once in a millisecond are not 20,000 a second."""
    pace = Pace()
    pace.observe(0, {"a": 0})
    pace.observe(1000, {"a": 20})
    assert pace.of("a") is None
    pace.observe(1_000_000, {"a": 20})
    assert pace.of("a") == 20.0


def test_books_or_a_clock_that_go_back_begin_anew() -> None:
    """A Redis that lost its data, or another server: no negative pace."""
    pace = Pace()
    for second, count in ((0, 100), (1, 200), (2, 50)):
        pace.observe(second * 1_000_000, {"a": count})
    assert (pace.of("a"), pace.trail("a")) == (None, ())
    pace.observe(3_000_000, {"a": 60})
    assert pace.of("a") == 10.0
    pace.observe(1_000_000, {"a": 70})
    assert pace.of("a") is None


def test_the_trail_is_bounded() -> None:
    """A watch that is kept open for weeks does not grow."""
    pace = Pace()
    for second in range(3 * TRAIL):
        pace.observe(second * 1_000_000, {"a": second})
    assert len(pace.trail("a")) == TRAIL
