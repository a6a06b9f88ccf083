"""Chance that repeats."""

import pytest

from simulator.dice import delay, throw
from simulator.plan import Latency

THROWS = [throw(7, f"id-{n}", 1) for n in range(4000)]


def test_a_throw_repeats() -> None:
    """The same seed, id and arrival give the same throw; another of each gives another."""
    assert throw(1, "a", 1) == throw(1, "a", 1)
    assert len({throw(1, "a", 1), throw(2, "a", 1), throw(1, "b", 1), throw(1, "a", 2)}) == 4


@pytest.mark.parametrize("field", ["fault", "jitter", "tail", "size"])
def test_throws_are_uniform(field: str) -> None:
    """Each number of a throw is spread evenly over [0, 1), also from one arrival of an id to the next."""
    values = [getattr(chance, field) for chance in THROWS]
    assert min(values) >= 0
    assert max(values) < 1
    assert sum(value < 0.1 for value in values) == pytest.approx(400, abs=80)
    again = [throw(7, f"id-{n}", 2).fault < 0.1 for n, value in enumerate(values) if value < 0.1]
    assert sum(again) == pytest.approx(len(again) / 10, abs=25)


def test_latency_without_a_tail_stays_in_its_bounds() -> None:
    """Base and jitter are the bounds of the time to answer."""
    delays = [delay(Latency(base_ms=50, jitter_ms=20), chance) for chance in THROWS]
    assert 0.050 <= min(delays) < 0.052
    assert 0.068 < max(delays) < 0.070


def test_the_tail_has_its_share_and_median() -> None:
    """The planned share answers after a lognormal time around its median."""
    latency = Latency(base_ms=1, tail_share=0.1, tail_median_ms=1000, tail_sigma=0.5)
    tail = [value for value in (delay(latency, chance) for chance in THROWS) if value > 0.001]
    assert len(tail) == pytest.approx(400, abs=80)
    assert sorted(tail)[len(tail) // 2] == pytest.approx(1.0, rel=0.15)
