from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from tasks.limiter.clock import DRIFT, SAMPLES, RedisClock

START_US = 1_767_225_600_000_000
AT_START = 1000.0
"""The local time at `START_US`, seconds."""


def answer(clock: RedisClock, at: float, *, there: float = 0.0005, back: float = 0.0005) -> None:
    """Observe an answer that Redis stamps at the local time `at`, after and before ways of so many seconds."""
    clock.observe(START_US + round((at - AT_START) * 1e6), at - there, at + back)


def error(clock: RedisClock, at: float) -> float:
    """Return by how many seconds the clock is wrong about the local time `at`."""
    return abs(clock.local(START_US + round((at - AT_START) * 1e6)) - at)


@given(st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=100))
def test_half_the_quickest_round_trip_is_the_error(ways: list[tuple[float, float]]) -> None:
    """However uneven the ways, the clock is wrong by no more than half the quickest of the last answers."""
    clock = RedisClock()
    for number, (there, back) in enumerate(ways):
        answer(clock, AT_START + number, there=there, back=back)
    assert error(clock, AT_START + len(ways)) <= min(map(sum, ways[-SAMPLES:])) / 2 + 1e-5


def test_a_slow_answer_does_not_spoil_a_quick_one() -> None:
    """The quickest answer is believed, not the last."""
    clock = RedisClock()
    answer(clock, AT_START)
    answer(clock, AT_START + 1, there=0.4, back=0.001)
    assert error(clock, AT_START + 2) < 0.001


def test_a_clock_that_was_set_is_believed_at_once() -> None:
    """When Redis' clock jumps, the first answer after it counts: no event waits for what was before."""
    clock = RedisClock()
    for number in range(SAMPLES):
        answer(clock, AT_START + number)
    jumped = START_US + 200_000_000
    clock.observe(jumped, AT_START + 100 - 0.001, AT_START + 100 + 0.001)
    assert abs(clock.local(jumped + 50_000) - (AT_START + 100.05)) < 0.002


def test_the_round_trip_is_what_most_answers_took() -> None:
    """One slow answer in twenty does not count, two in ten do; before the first answer nothing is known."""
    clock = RedisClock()
    assert clock.round_trip == 0.0
    for number in range(20):
        answer(clock, AT_START + number, back=0.5 if number == 7 else 0.001)
    assert 0.001 < clock.round_trip < 0.002
    for number in range(20, 24):
        answer(clock, AT_START + number, back=0.03)
    assert 0.03 < clock.round_trip < 0.04


def test_a_quiet_hour_does_not_age_the_clock() -> None:
    """Two clocks drift apart in a quiet hour; the next answer is believed although an old one was quicker."""
    clock = RedisClock()
    answer(clock, AT_START, there=0.0001, back=0.0001)
    drifted = AT_START + 3600
    clock.observe(START_US + 3_600_180_000, drifted - 0.001, drifted + 0.001)
    assert abs(clock.local(START_US + 3_600_180_000) - drifted) < 0.002


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-3, 3)), max_size=3 * SAMPLES))
def test_only_the_last_answers_count(answers: list[tuple[int, int]]) -> None:
    """What is kept in order is what counting the last answers again would find, also after the clock was set."""
    clock, last = RedisClock(), deque[tuple[float, float]](maxlen=SAMPLES)
    for number, (took, ahead) in enumerate(answers):
        asked, received = number * 10.0, number * 10.0 + took / 1000
        now_us = round((asked + received) / 2 * 1e6) + ahead * 1000
        offset = (asked + received) / 2 - now_us / 1e6
        if last and abs(offset - min(last)[1]) > (received - asked + min(last)[0]) / 2 + DRIFT:
            last.clear()
        last.append((received - asked, offset))
        clock.observe(now_us, asked, received)
        times = sorted(took for took, _ in last)
        assert clock.round_trip == times[len(times) * 9 // 10]
        assert clock.local(0) == min(last)[1]
