"""A log that nobody reads, until all of its queue is full, and a worker that ends so."""

from pathlib import Path

import pytest

from tests.e2e.test_log import GRACE, unread
from tests.support.chaos import SETTINGS, Trial
from tests.support.fleet import TENCENT, Fleet
from tests.support.wait import until
from tests.support.worker_process import RUN

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

EVENTS = 12_000
"""More lines than are kept."""


def test_nobody_reads_for_long(tmp_path: Path) -> None:
    """Reports go on, lines are dropped and counted, the next reader is told how many, and the worker ends in time."""
    with (
        Fleet(tmp_path, TENCENT, settings={**SETTINGS, "log_sample": 1.0}) as fleet,
        unread(fleet, RUN) as worker,
    ):
        trial = Trial(fleet, "a log that nobody reads")
        trial.times += 1
        fleet.enqueue(EVENTS)
        fleet.wait_until_delivered(EVENTS, deadline=120)
        dropped = worker.metric("otpreport_log_lines_dropped_total")
        assert dropped > 0
        until(lambda: '"log lines dropped"' in worker.read())
        (told,) = worker.lines("log lines dropped")
        assert told["lines"] == dropped
        assert len(worker.lines("attempt")) + dropped >= EVENTS
        fleet.enqueue(1000)
        fleet.wait_until_delivered(EVENTS + 1000)
        worker.terminate()
        assert worker.wait(5 * GRACE) == 0
        assert not trial.end().twice
