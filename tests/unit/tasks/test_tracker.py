"""How much the reports of OTPs not verified may be."""

import pytest

from tasks.tracking.tracker import Negatives


@pytest.mark.parametrize(("rate", "most"), [(1, 60), (20, 1200), (333, 19_980), (1000, 20_000)])
def test_reports_that_wait_are_those_of_a_minute(rate: int, most: int) -> None:
    """A minute at the account's rate, and never more than twenty thousand."""
    assert Negatives.at(rate, None) == Negatives(most)
