"""What is read of /proc."""

import pytest

from benchmarks.usage import Stat, busy_ticks, family

LINE = "42 {name} S 7 42 42 0 -1 4194560 1 2 3 4 150 50 900 900 20 0 5 0 100 1 1"


@pytest.mark.parametrize("name", ["(python)", "(a b)", "(odd) S 1 (name)"])
def test_a_process_counts_its_user_and_system_time(name: str) -> None:
    """Whatever its name looks like; the time of children that have ended is not its own."""
    assert Stat.parse(LINE.format(name=name)) == Stat(parent=7, ticks=200)


def test_the_family_is_all_descendants_and_nobody_else() -> None:
    """A prefork worker's children count with it, at any depth; its neighbours do not."""
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    stats = {pid: Stat(parent, 1) for pid, parent in parents.items()}
    assert sorted(family(10, stats)) == [10, 11, 12]


def test_idle_time_and_guests_are_not_work() -> None:
    """Only what kept a core busy counts, and what ran in a guest counts once."""
    assert busy_ticks("cpu  100 20 3 5000 700 4 5 6 100 20\ncpu0 1 1 1 1 1 1 1 1 1 1\n") == 138
