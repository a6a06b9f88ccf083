"""The rate a key is held to."""

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.window import RateWindow

TIMES = st.lists(st.integers(0, 4000).map(lambda n: n / 1000), max_size=80).map(sorted)


@settings(deadline=None)
@given(TIMES, st.integers(1, 5))
def test_admits_exactly_up_to_the_rate(times: list[float], rate: int) -> None:
    """A call is admitted if and only if fewer than `rate` were admitted in the second before it."""
    window = RateWindow(rate)
    admitted: list[float] = []
    for now in times:
        expected = sum(now - 1.0 < time for time in admitted) < rate
        assert window.admit(now) is expected
        if expected:
            admitted.append(now)


def test_a_lowered_rate_holds_at_once() -> None:
    """After lowering the rate nothing is admitted until the last second holds less than the new one."""
    window = RateWindow(10)
    assert all(window.admit(0.0) for _ in range(10))
    window.rate = 5
    assert not window.admit(0.5)
    assert window.admit(1.0)
