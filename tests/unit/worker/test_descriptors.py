import pytest

from worker.descriptors import RESERVED, fitting


@pytest.mark.parametrize(
    ("limit", "requests"),
    [(-1, 400), (1024, 400), (500, 400), (499, 399), (200, 100), (150, 50), (110, 29), (90, 19), (10, 1)],
)
def test_so_many_requests_fit_under_a_limit(limit: int, requests: int) -> None:
    """All that were configured where they fit beside a hundred others, else what is left; one at least."""
    assert fitting(400, limit, 100) == requests


def test_what_is_set_apart_is_the_last_to_be_used() -> None:
    """Where little is left requests get half of it, not all: a worker without a descriptor for Redis does nothing."""
    assert fitting(400, 52 + RESERVED // 2, 52 + RESERVED) < RESERVED // 2
