"""How the pictures of the dashboard say values and lay out axes."""

import math
from itertools import pairwise

import pytest

from benchmarks.dashboard.paper import Box
from benchmarks.dashboard.scale import Scale, said, steps


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0, "s", "0 s"),
        (0.0421, "s", "42.1 ms"),
        (90, "s", "1.5 min"),
        (0.5, "percentunit", "50%"),
        (0.99934, "percentunit", "99.9%"),
        (64 * 1024**2, "bytes", "64 MiB"),
        (90, "eps", "90 evt/s"),
        (1, "reqps", "1 req/s"),
        (3000, "short", "3 K"),
        (12, "short", "12"),
    ],
)
def test_a_value_is_said(value: float, unit: str, words: str) -> None:
    """Three digits and the unit's word."""
    assert said(value, unit) == words


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 0.013), (0, 97), (0, 3141), (-3, 5), (0, 1e9)], ids=str
)
@pytest.mark.parametrize("unit", ["short", "s", "bytes"])
def test_steps_are_round_and_enclose(low: float, high: float, unit: str) -> None:
    """The marks reach from below the least to above the greatest value, few enough to be read, evenly apart."""
    marks = steps(low, high, 5, unit)
    assert marks[0] <= low
    assert marks[-1] >= high
    assert 2 <= len(marks) <= 9
    assert len({f"{b - a:.6g}" for a, b in pairwise(marks)}) == 1


def test_a_scale_stays_within_its_pixels() -> None:
    """What lies beyond the ends is drawn at the end."""
    scale = Scale(0, 10, 100, 0)
    assert [scale.at(value) for value in (-5, 0, 5, 10, 99)] == [100, 100, 50, 0, 0]
    assert math.isclose(Box(1, 2, 3, 4).right + Box(1, 2, 3, 4).bottom, 10)
