"""A log that nobody reads: it keeps no report from being made, and no worker from ending."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fleet import LONG, SHORT, TENCENT, Fleet
from tests.support.unread import UnreadWorker
from tests.support.wait import until
from tests.support.worker_process import CELERY, RUN, odd

SETTINGS = {**LONG, "log_sample": 1.0}
GRACE = float(str(SHORT["grace"]))
EVENTS = 1000
"""Their lines are several times what a pipe takes."""


@contextmanager
def unread(fleet: Fleet, command: tuple[str, ...]) -> Generator[UnreadWorker]:
    """Run a worker whose outputs are read until it has started."""
    worker = UnreadWorker(fleet.folder, fleet.config, command=command)
    try:
        worker.wait_until_started()
        assert worker.port
        yield worker
    finally:
        worker.clean_up()


@pytest.mark.parametrize(
    "command", [RUN, pytest.param(CELERY, marks=pytest.mark.chaos)], ids=["run", "celery"]
)
def test_nobody_reads(tmp_path: Path, command: tuple[str, ...]) -> None:
    """All is reported; what it says when asked for its stacks and to end holds it up no more than its log does."""
    with Fleet(tmp_path, TENCENT, settings=SETTINGS) as fleet, unread(fleet, command) as worker:
        fleet.enqueue(EVENTS)
        fleet.wait_until_delivered(EVENTS)
        worker.send(signal.SIGUSR1)
        worker.terminate()
        assert worker.wait(5 * GRACE) == 0
        assert not fleet.check().twice


def test_a_late_reader(tmp_path: Path) -> None:
    """Whoever reads again finds whole lines, in order, with the last word of a worker that ended meanwhile."""
    with Fleet(tmp_path, TENCENT, settings=SETTINGS) as fleet, unread(fleet, RUN) as worker:
        fleet.enqueue(EVENTS)
        fleet.wait_until_delivered(EVENTS)
        until(lambda: worker.read().count('"event":"attempt"') == EVENTS)
        times = [line["time"] for line in worker.lines()]
        assert times == sorted(times)
        worker.terminate()
        assert worker.wait(5 * GRACE) == 0
        worker.read()
        assert worker.lines("worker stopped")


def test_a_worker_that_waits_for_its_reader(tmp_path: Path) -> None:
    """As a control: one that writes to its outputs itself stands still, and does not end."""
    with (
        Fleet(tmp_path, TENCENT, settings=SETTINGS) as fleet,
        unread(fleet, odd("waits-for-its-reader")) as worker,
    ):
        fleet.enqueue(EVENTS)
        with pytest.raises(AssertionError):
            fleet.wait_until_delivered(EVENTS, deadline=4)
        worker.terminate()
        with pytest.raises(AssertionError, match="did not end"):
            worker.wait(3)
