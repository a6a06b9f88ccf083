"""The busiest second, against a brute-force count."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.judge import SecondJudge

OFFSET = 0.25
MILLISECOND = st.integers(0, 5000).map(lambda n: n / 1000)
TIMES = st.lists(MILLISECOND, max_size=60).map(sorted)


@st.composite
def lag_spans(draw: st.DrawFn) -> list[list[float]]:
    """Disjoint ascending spans; the last may still be open."""
    edges = sorted(draw(st.sets(MILLISECOND, max_size=8)))
    spans = [[a, b] for a, b in zip(edges[::2], edges[1::2], strict=False)]
    return [*spans, [edges[-1], math.inf]] if len(edges) % 2 else spans


def _in_sliding(times: list[float], end: float) -> int:
    return sum(end - 1.0 < time <= end for time in times)


def _is_late(start: float, spans: list[list[float]]) -> bool:
    return any(a <= start + 1.0 and b > start for a, b in spans)


def judge(times: list[float], spans: list[list[float]], cuts: list[float]) -> SecondJudge:
    """Feed the arrivals in pieces, as the simulator does."""
    it = SecondJudge(OFFSET)
    for time in times:
        it.arrive(time)
    for cut in [*sorted(cuts), math.inf]:
        it.advance(cut, spans)
    return it


@settings(deadline=None)
@given(TIMES, lag_spans(), st.lists(MILLISECOND, max_size=4))
def test_sliding_second(times: list[float], spans: list[list[float]], cuts: list[float]) -> None:
    """The worst sliding second is the most arrivals that any second ending at an arrival holds."""
    worst = judge(times, spans, cuts).sliding
    counts = [_in_sliding(times[: n + 1], time) for n, time in enumerate(times)]
    on_time = [count for count, time in zip(counts, times, strict=True) if not _is_late(time - 1.0, spans)]
    assert worst.count == max(counts, default=0)
    assert worst.on_time == max(on_time, default=0)
    assert worst.set_aside == len(counts) - len(on_time)


@settings(deadline=None)
@given(TIMES, lag_spans(), st.lists(MILLISECOND, max_size=4))
def test_aligned_second(times: list[float], spans: list[list[float]], cuts: list[float]) -> None:
    """The worst aligned second is the fullest second of the UNIX clock."""
    worst = judge(times, spans, cuts).aligned(spans)
    seconds = {math.floor(time + OFFSET) for time in times}
    counts = {second: sum(math.floor(time + OFFSET) == second for time in times) for second in seconds}
    on_time = [n for second, n in counts.items() if not _is_late(second - OFFSET, spans)]
    assert worst.count == max(counts.values(), default=0)
    assert worst.on_time == max(on_time, default=0)
    assert worst.set_aside == len(counts) - len(on_time)


def test_a_burst_across_a_boundary_is_seen_by_the_sliding_second_alone() -> None:
    """A fixed window's double burst is what the aligned count misses."""
    times = [0.7] * 100 + [0.8] * 100  # the UNIX second turns at 0.75
    it = judge(times, [], [])
    assert (it.aligned([]).count, it.sliding.count) == (100, 200)


def test_two_arrivals_one_second_apart_share_no_second() -> None:
    """A sliding second is half open."""
    assert judge([1.0, 2.0], [], []).sliding.count == 1
    assert judge([1.0, 1.999], [], []).sliding.count == 2


def test_arrivals_after_the_checked_time_wait() -> None:
    """An arrival is judged only once the simulator's lag at its time is known."""
    it = SecondJudge(0.0)
    for time in (1.0, 1.1, 1.2):
        it.arrive(time)
    it.advance(1.1, [])
    assert it.sliding.count == 2
    it.advance(1.2, [[1.15, 1.3]])
    assert (it.sliding.count, it.sliding.on_time) == (3, 2)
