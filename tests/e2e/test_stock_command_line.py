"""The stock command line, `celery -A worker worker`, does what a Celery user expects of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleet import ALIBABA, LONG, TENCENT, Fleet
from tests.support.wait import until
from tests.support.worker_process import CELERY, RUN
from worker.embedded import free_port

NOWHERE = "redis://127.0.0.1:1/0"
FOREIGN = {
    "BROKER_URL": NOWHERE,
    "CELERY_BROKER_READ_URL": NOWHERE,
    "CELERY_BROKER_URL": NOWHERE,
    "CELERY_BROKER_WRITE_URL": NOWHERE,
    "CELERY_CONFIG_MODULE": "mysite.celeryconfig",
    "CELERY_LOADER": "mysite.loaders.Loader",
    "CELERY_RESULT_BACKEND": "django-db",
    "CELERY_WORKER_CONCURRENCY": "many",
    "CELERY_WORKER_LOGFILE": "/nowhere/celery.log",
    "CELERY_WORKER_POOL": "gevent",
    "CONFIG_MODULE": "mysite.celeryconfig",
    "DJANGO_SETTINGS_MODULE": "mysite.settings",
    "FORKED_BY_MULTIPROCESSING": "1",
}
"""What a web app with Celery has in its environment."""

HANG = {"faults": [{"kind": "hang", "message_id": "hang-*", "arrivals": 1}]}


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


@pytest.mark.parametrize("command", [CELERY, RUN])
def test_variables_of_a_web_app(tmp_path: Path, command: tuple[str, ...]) -> None:
    """No variable of Celery's or Django's takes an event elsewhere or ends the start; a line names what is ignored."""
    with Fleet(tmp_path, settings=LONG) as fleet:
        worker = fleet.start_worker(command, environment=FOREIGN)
        fleet.enqueue(20)
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 20
        (line,) = worker.lines("celery settings ignored")
        assert [name for name in line["ignored"] if name[0] != "-"] == sorted(
            name for name in FOREIGN if name.startswith("CELERY_")
        )
        assert NOWHERE not in worker.text


def test_options_without_effect(tmp_path: Path) -> None:
    """`-b` and the options of Celery's own pools change nothing, and a line names them."""
    given = ("-b", NOWHERE)
    more = ("-c", "4", "-E", "-O", "fair", "--time-limit", "1", "--max-tasks-per-child", "1")
    with Fleet(tmp_path, settings=LONG) as fleet:
        worker = fleet.start_worker((*CELERY[:-1], *given, "worker", *more))
        fleet.enqueue(20)
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 20
        (line,) = worker.lines("celery settings ignored")
        assert {"-b", "-c", "-E", "-O", "--time-limit", "--max-tasks-per-child"} < set(line["ignored"])


def test_log_file(tmp_path: Path) -> None:
    """`-f` and `-l` say where and from which level it logs; a file that was moved away gets a successor."""
    with Fleet(tmp_path, settings={**LONG, "log_level": "error"}) as fleet:
        path = tmp_path / "w1.log"
        worker = fleet.launch((*CELERY, "-n", "w1@here", "-f", str(tmp_path / "%n.log"), "-l", "info"))
        until(lambda: path.exists() and "worker started" in path.read_text())
        path.rename(tmp_path / "moved.log")
        worker.terminate()
        assert worker.wait() == 0
        assert "worker stopped" in path.read_text()
        assert "worker started" not in worker.text


def test_log_file_that_cannot_be(tmp_path: Path) -> None:
    """A log file that can't be written ends the start, in one line."""
    with Fleet(tmp_path) as fleet:
        worker = fleet.launch((*CELERY, "-f", str(tmp_path / "none" / "w.log")))
        assert worker.wait() == 2
        assert worker.text.startswith(f"-f {tmp_path}/none/w.log: can't write this file: ")


def test_multi(tmp_path: Path) -> None:
    """Workers of `celery multi` log into their files, from the first line to the last, a refused start too."""
    with Fleet(tmp_path, settings=LONG) as fleet:
        environment = os.environ | {"OTPREPORT_CONFIG": str(fleet.config)}

        def multi(verb: str, node: str, *more: str) -> None:
            files = (f"--pidfile={tmp_path}/%n.pid", f"--logfile={tmp_path}/%n.log")
            command = (sys.executable, "-m", "celery", "multi", verb, node, "-A", "worker", *files, *more)
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)

        log, refused = tmp_path / "w1.log", tmp_path / "w2.log"
        multi("start", "w1", "-l", "INFO")
        try:
            until(lambda: log.exists() and "worker started" in log.read_text())
        finally:
            multi("stopwait", "w1")
        assert json.loads(log.read_text().splitlines()[-1])["event"] == "worker stopped"
        multi("start", "w2", "-P", "solo")
        until(lambda: refused.exists() and refused.read_text().startswith("-P: "))


@pytest.mark.parametrize(
    "command", ["inspect ping", "control shutdown", "status", "report", "purge", "events"]
)
def test_off(tmp_path: Path, command: str) -> None:
    """What needs a broker is refused in one line that says what to use."""
    with Fleet(tmp_path) as fleet:
        worker = fleet.launch((*CELERY[:-1], *command.split()))
        assert worker.wait() == 2
        (line,) = worker.text.splitlines()
        assert line.startswith(f"celery {command.split(maxsplit=1)[0]} is off")
        assert "use `otpreport " in line


@pytest.mark.parametrize("command", [CELERY, RUN])
def test_ctrl_c(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Ctrl-C finishes what is in flight and ends with status 0; a second one hands it back at once."""
    with Fleet(tmp_path, plan=HANG, settings=LONG) as fleet:
        idle = fleet.start_worker(command)
        idle.send(signal.SIGINT)
        assert idle.wait() == 0
        worker = fleet.start_worker(command)
        fleet.enqueue(1, prefix="hang-")
        fleet.wait_until_arrived(1)
        worker.send(signal.SIGINT)
        until(lambda: "Ctrl-C again hands their events back" in worker.text + worker.output)
        worker.send(signal.SIGINT)
        assert worker.wait(float(str(LONG["grace"])) / 2) == 0
        if command is CELERY:
            assert ".> transport:   redis://127.0.0.1:" in idle.output
        for text in (idle.text + idle.output, worker.text + worker.output):
            assert "terminating all running tasks" not in text
            assert "MainProcess" not in text
        assert fleet.books()["tencent"].held == 0
