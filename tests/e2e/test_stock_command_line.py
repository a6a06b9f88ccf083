"""The stock command line, `celery -A worker worker`, does what a Celery user expects of it."""

from pathlib import Path

import pytest

from tests.support.fleet import ALIBABA, LONG, TENCENT, Fleet
from tests.support.wait import until
from tests.support.worker_process import CELERY, RUN
from worker.embedded import free_port


def test_one_account(tmp_path: Path) -> None:
    """A worker told to serve one account leaves the queue of the other alone, what waits for a retry included."""
    with Fleet(tmp_path, TENCENT, ALIBABA, settings=LONG) as fleet:
        fleet.start_worker((*CELERY, "-Q", "otpreport.tencent"))
        fleet.enqueue(50, "alibaba")
        fleet.enqueue(50)
        until(lambda: fleet.books()["tencent"].settled)
        books = fleet.books()
        assert books["tencent"].delivered == 50
        assert (books["alibaba"].ready, books["alibaba"].taken) == (50, 0)
        fleet.start_worker((*RUN, "--accounts", "alibaba"))
        fleet.wait_until_settled()
        fleet.check()


def test_metrics_port_taken(tmp_path: Path) -> None:
    """Several workers with one METRICS_PORT take one port after the other, and say which in their logs."""
    port = free_port()
    with Fleet(tmp_path, settings={**LONG, "metrics_port": port}) as fleet:
        ports = [fleet.start_worker(CELERY).port for _ in range(3)]
        assert ports[0] >= port
        assert ports == sorted(set(ports))
        for worker in fleet.workers:
            assert worker.get("/healthz")[0] == 200


@pytest.mark.parametrize("asked", [("-P", "threads"), ("-Q", "otpreport.tencnet")])
def test_refused(tmp_path: Path, asked: tuple[str, str]) -> None:
    """What this worker can't do is refused in one line and with status 2, and no event is touched."""
    with Fleet(tmp_path) as fleet:
        fleet.enqueue(5)
        worker = fleet.launch((*CELERY, *asked))
        assert worker.wait() == 2
        (line,) = worker.text.splitlines()
        assert line.startswith(asked[0])
        assert fleet.books()["tencent"].ready == 5


def test_default_pool_by_name(tmp_path: Path) -> None:
    """`-P prefork` is Celery's default and means our pool, as without it."""
    with Fleet(tmp_path, settings=LONG) as fleet:
        fleet.start_worker((*CELERY, "-P", "prefork"))
        fleet.enqueue(20)
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 20


@pytest.mark.parametrize("command", [CELERY, RUN])
def test_wrong_settings(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Wrong settings end the start with status 2 and one line for each fault, not a traceback."""
    with Fleet(tmp_path, settings={**LONG, "lease": 1.0, "log_level": "loud"}) as fleet:
        worker = fleet.launch(command)
        assert worker.wait() == 2
        lines = worker.text.splitlines()
        assert len(lines) == 2
        assert any(line.startswith("lease ") for line in lines)
        assert any(line.startswith("log_level ") for line in lines)
