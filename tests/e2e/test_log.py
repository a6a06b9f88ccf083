"""A log that nobody reads: it keeps no report from being made, and no worker from ending."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.fleet import LONG, SHORT, TENCENT, Fleet
from tests.support.unread import UnreadWorker
from tests.support.wait import until
from tests.support.worker_process import CELERY, EXPORTER, ROOT, RUN, odd

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
        worker.send(signal.SIGUSR2)
        worker.terminate()
        assert worker.wait(5 * GRACE) == 0
        assert not fleet.check().twice


@pytest.mark.parametrize(
    "command",
    [RUN, pytest.param(CELERY, marks=pytest.mark.chaos), EXPORTER],
    ids=["run", "celery", "exporter"],
)
def test_stacks(tmp_path: Path, command: tuple[str, ...]) -> None:
    """SIGUSR2 writes the stacks of all threads and ends nothing; a fatal fault writes them as well."""
    with Fleet(tmp_path, TENCENT, settings=SETTINGS) as fleet:
        process = fleet.start_worker(command)
        process.send(signal.SIGUSR2)
        until(lambda: "in <module>" in process.text)
        assert "output.py" in process.text, "the thread that writes the log is missing"
        assert process.running
        process.send(signal.SIGSEGV)
        assert process.wait() == -signal.SIGSEGV
        assert "Fatal Python error: Segmentation fault" in process.text


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


def test_one_that_may_not_start_ends() -> None:
    """What is wrong is said into a pipe that may be full, after SIGHUP for one; it ends all the same."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 1024)
    os.set_blocking(writer, True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
    done = subprocess.run(
        [sys.executable, *RUN], cwd=ROOT, env=clean, stdout=writer, stderr=writer, timeout=30, check=False
    )
    os.close(writer)
    os.close(reader)
    assert done.returncode == 2
