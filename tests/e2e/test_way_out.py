"""A worker that can't get out: too few open files, no name, no route; the others report its events."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.admin import admin
from tests.support.command import call_in
from tests.support.fleet import LONG, TENCENT, Fleet
from tests.support.wait import until
from tests.support.worker_process import odd
from worker.embedded import free_port


def nowhere(setting: str = "ENDPOINT") -> dict[str, str]:
    """Return the environment of a worker whose provider, or the proxy to it, refuses every connection."""
    return {f"OTPREPORT_ACCOUNTS__TENCENT__{setting}": f"http://127.0.0.1:{free_port()}"}


@pytest.mark.parametrize("setting", ["ENDPOINT", pytest.param("PROXY", marks=pytest.mark.chaos)])
def test_a_worker_without_a_way_out_leaves_its_part_to_the_other(setting: str, tmp_path: Path) -> None:
    """All is delivered, the breaker stays closed; the odd one says so everywhere, and is not ready."""
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        good = fleet.start_worker()
        bad = fleet.start_worker(odd("impatient"), environment=nowhere(setting))
        with fleet.producing(100):
            until(lambda: bad.lines("account left to others"))
            until(lambda: bad.get("/readyz")[0] == 503)
            until(lambda: bad.metric("otpreport_account_left_to_others") == 1)
        assert "while other workers have answers" in bad.get("/readyz")[1]
        assert good.get("/readyz")[0] == 200
        for command in ("status", "check"):
            said = call_in({"OTPREPORT_CONFIG": str(fleet.config)}, command).out
            assert f"worker {bad.id}" in said
            assert "leaves tencent to other workers" in " ".join(said.split())
        fleet.wait_until_settled()
        fleet.check()
        assert admin(fleet.redis).hget("otpreport:account:tencent", "state") is None
        tries = len(bad.lines("attempt"))
        assert {line["result"] for line in bad.lines("attempt")} == {"not_sent"}
        assert tries < fleet.delivered() / 2


def test_where_no_worker_gets_out_all_stay_ready(tmp_path: Path) -> None:
    """A provider that nobody reaches is an outage: the breaker opens, the events wait, and one is no dead letter."""
    few = {"max_attempts": 2, "endpoint": f"http://127.0.0.1:{free_port()}"}
    with Fleet(tmp_path, replace(TENCENT, settings=few), settings=LONG) as fleet:
        workers = [fleet.start_worker(odd("impatient")) for _ in range(2)]
        fleet.enqueue(300)
        state = admin(fleet.redis)
        until(lambda: state.hget("otpreport:account:tencent", "state") == b"open")
        until(lambda: all(worker.lines("attempt") for worker in workers))
        until(lambda: state.hget("otpreport:account:tencent", "probe_tag"), deadline=30)
        assert [worker.get("/readyz")[0] for worker in workers] == [200, 200]
        assert fleet.dead_letters() == []


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
        assert (
            "is limited by its open-files limit"
            in call_in({"OTPREPORT_CONFIG": str(fleet.config)}, "status").out
        )
        fleet.check()


def test_a_low_soft_limit_is_raised(tmp_path: Path) -> None:
    """Where the hard limit allows it the worker helps itself, and says nothing."""
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        worker = fleet.start_worker(wrapper=("sh", "-c", 'ulimit -Sn 64; exec "$@"', "sh"))
        assert not worker.lines("concurrency lowered")
        limits = Path(f"/proc/{worker.pid}/limits").read_text().splitlines()
        (soft,) = (line.split()[3] for line in limits if line.startswith("Max open files"))
        assert int(soft) > 400
