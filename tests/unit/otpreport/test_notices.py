"""Lines that repeat: once, then with a count."""

import pytest

from otpreport.notices import Notices


class Counted(Notices):
    """Notices that tell how many lines they remember."""

    def __len__(self) -> int:
        return len(self._lines)


def test_a_line_that_repeats_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A line is logged at once, then every half a minute with how often it came; another line has its own count."""
    now = 0.0
    notices = Notices(lambda: now)
    for second in range(65):
        now = float(second)
        notices.warn("the disk is full")
    notices.warn("the file is locked")
    assert [record.getMessage() for record in caplog.records] == [
        "the disk is full",
        "the disk is full (29 times more since)",
        "the disk is full (29 times more since)",
        "the file is locked",
    ]


def test_many_different_lines_use_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Lines that are never the same are not kept for ever."""
    notices = Counted(lambda: 0.0)
    for number in range(1000):
        notices.warn(str(number))
    assert len(notices) <= 100
    assert len(caplog.records) == 1000
