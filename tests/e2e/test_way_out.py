"""A worker that can't get out: too few open files, no name, no route; the others report its events."""

from pathlib import Path

from tests.support.command import call_in
from tests.support.fleet import LONG, TENCENT, Fleet


def test_few_open_files_are_few_requests_at_once(tmp_path: Path) -> None:
    """A worker that may open 64 files takes what fits, tells it, and no request fails for it; its health answers."""
    slow = {"latency": {"base_ms": 500}}
    with Fleet(tmp_path, TENCENT, plan=slow, settings=LONG) as fleet:
        fleet.enqueue(100)
        worker = fleet.start_worker(wrapper=("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"))
        (line,) = worker.lines("concurrency lowered")
        assert line["concurrency"] < 64 < line["wanted"]
        assert worker.get("/healthz")[0] == 200
        fleet.wait_until_settled()
        assert worker.metric("otpreport_attempts_total", result="not_sent") == 0
        assert "may open too few files" in call_in({"OTPREPORT_CONFIG": str(fleet.config)}, "status").out
        fleet.check()


def test_a_low_soft_limit_is_raised(tmp_path: Path) -> None:
    """Where the hard limit allows it the worker helps itself, and says nothing."""
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        worker = fleet.start_worker(wrapper=("sh", "-c", 'ulimit -Sn 64; exec "$@"', "sh"))
        assert not worker.lines("concurrency lowered")
        limits = Path(f"/proc/{worker.pid}/limits").read_text().splitlines()
        (soft,) = (line.split()[3] for line in limits if line.startswith("Max open files"))
        assert int(soft) > 400
