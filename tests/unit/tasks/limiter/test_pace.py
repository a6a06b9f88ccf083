import random
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.limiter.admission import MANY, SOONEST, TICK, TOLERANCE, RateGroup

JITTER = 0.05
"""Seconds by which arrivals at the provider's door may be late, each by its own."""


def fullest_second(arrivals: Sequence[Fraction | float]) -> int:
    """Return the most arrivals of any half-open sliding second."""
    ordered = sorted(arrivals)
    return max(index + 1 - bisect_right(ordered, at - 1) for index, at in enumerate(ordered))


def slots(limit: int, headroom: float, number: int) -> list[Fraction]:
    """Return slots as admit.lua hands them out: (1 + headroom) / limit seconds apart."""
    interval = (1 + Fraction(str(headroom))) / limit
    return [interval * index for index in range(number)]


@settings(max_examples=40)
@given(limit=st.integers(1, 399), data=st.data())
def test_no_second_is_too_full(limit: int, data: st.DataObject) -> None:
    """Slots 1/pace apart, each used up to `headroom` late: no sliding second holds more than the limit."""
    headroom = RateGroup("g", limit).headroom
    thousandths = st.integers(0, int(headroom * 1000))
    number = limit * 2 + 3
    late = data.draw(
        st.lists(thousandths, min_size=number, max_size=number) | thousandths.map(lambda t: [t] * number)
    )
    arrivals = [
        slot + Fraction(by, 1000) for slot, by in zip(slots(limit, headroom, number), late, strict=True)
    ]
    assert fullest_second(arrivals) <= limit


@given(st.integers(1, 100_000))
def test_the_worst_case_is_full_and_no_more(limit: int) -> None:
    """The first slots as late as allowed, the others on time: exactly the limit falls into one second."""
    headroom = RateGroup("g", limit).headroom
    # slots in (1 - headroom, 2]: those before 1 arrive just after it, those after it on time
    interval = (1 + Fraction(str(headroom))) / limit
    first, last = (1 - Fraction(str(headroom))) // interval + 1, Fraction(2) // interval
    assert limit - 1 <= last - first + 1 <= limit


@given(limit=st.integers(2, 30))
def test_without_headroom_a_second_is_too_full(limit: int) -> None:
    """The headroom is what keeps the limit: without it the same delays put too many into one second."""
    late = Fraction(1, limit)  # the first is late, the next ones are on time
    arrivals = slots(limit, 0.0, limit + 2)
    arrivals[0] += late - Fraction(1, 10**6)
    assert fullest_second(arrivals) > limit


def test_pace_is_what_is_asked_of_it() -> None:
    """Under saturation at least 95 % of the limit is used."""
    for limit in (1, 10, 199, 399, 400, 500, 1000, 100_000):
        assert RateGroup("g", limit).pace >= 0.95 * limit


def jittered(limit: int, headroom: float, seconds: int, *, tolerance: float = TOLERANCE) -> int:
    """Return the fullest sliding second with independent delays of up to JITTER, on a worker that is busy at times.

    It wakes when its group says, and for spells of up to half a second it comes late each time, as late as it may.
    """
    dice = random.Random(limit)
    interval = (1 + headroom) / limit
    group = RateGroup("g", limit)
    arrivals: list[float] = []
    spell_ends, busy, woke, late = 0.0, False, -1.0, 0.0
    for index in range(int(seconds / interval)):
        slot = index * interval
        now = group.wake_at(slot)
        if now >= spell_ends:
            busy, spell_ends = dice.random() < 0.3, now + dice.random() / 2
        if now != woke:
            woke, late = now, (dice.uniform(0.5, 1.0) * (SOONEST + tolerance) if busy else 0.0)
        arrivals.append(min(now + late, slot + tolerance) + dice.random() * JITTER)
    return fullest_second(arrivals)


@pytest.mark.parametrize("limit", [500, 700, 1000])
def test_independent_delays_even_out_at_a_high_rate(limit: int) -> None:
    """At the rates that have less headroom than the jitter, two minutes of saturation stay below the limit."""
    assert jittered(limit, RateGroup("g", limit).headroom, 120) <= limit


@pytest.mark.parametrize("limit", [5, 20, 100])
def test_a_punctual_worker_keeps_a_low_rate(limit: int) -> None:
    """Each slot is used within a millisecond, not on the grid: whatever the jitter does, the limit holds."""
    headroom = RateGroup("g", limit).headroom
    assert jittered(limit, headroom, 600, tolerance=0.001) <= limit
    assert jittered(limit, headroom - 0.01, 600, tolerance=0.001) > limit


def test_less_headroom_would_not_do() -> None:
    """The simulation can fail: less headroom, or a worker that may come later, breaks the limit."""
    assert jittered(500, 0.02, 120) > 500
    assert jittered(500, 0.035, 600, tolerance=0.02) > 500


@given(st.floats(0, 1e6), st.integers(1, 2000))
def test_a_worker_wakes_near_each_slot(slot: float, limit: int) -> None:
    """On the grid a little before or after it, with most of the tolerance left; at a low rate at the slot itself."""
    early = slot - RateGroup("g", limit).wake_at(slot)
    if limit < MANY:
        assert early == 0
    else:
        assert SOONEST - TICK - 1e-9 <= early <= SOONEST + 1e-9
    assert TICK - SOONEST <= TOLERANCE / 4
