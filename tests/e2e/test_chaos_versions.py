"""Two versions side by side on one Redis, as in every rolling update: kills, retries, pauses, replays."""

import random
from pathlib import Path

import pytest

from tests.e2e.test_chaos_kill import pass_time
from tests.support.chaos import LEASE, SETTINGS, Trial
from tests.support.earlier import BEFORE, checkout, command
from tests.support.fleet import PROMISE, Account, Fleet
from tests.support.wait import until
from tests.support.worker_process import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

LIMIT = 150
STEADY = Account("tencent", "tencent", LIMIT)
REFUSED, REFUSALS = "refused-", 20
PLAN = {
    "latency": {"base_ms": 50, "jitter_ms": 50},
    "faults": [
        {"kind": "code", "code": "MissingParameter", "message_id": f"{REFUSED}*", "arrivals": 1},
        {"kind": "code", "code": "ResourceInsufficient", "share": 0.1},
    ],
}
"""Some events die, and are taken once they are replayed; a tenth of the requests is to be tried again."""

ROUNDS, KILLS = 3, 2


def hold_and_replay(fleet: Fleet, one: Path, other: Path) -> None:
    """Let some events die; pause and replay them with one version's commands, go on with the other's."""
    died = len(fleet.dead_letters())
    fleet.enqueue(REFUSALS, prefix=REFUSED)
    until(lambda: len(fleet.dead_letters()) >= died + REFUSALS, deadline=60)
    command(one, fleet.config, "accounts", "pause", "tencent", "--reason", "trial")
    command(one, fleet.config, "dead", "replay", "--all", "--yes")
    command(other, fleet.config, "accounts", "resume", "tencent")


@pytest.mark.parametrize("last", ["this version", "the version before"])
def test_beside_the_version_before(tmp_path: Path, last: str) -> None:
    """Workers of both versions lose nothing and hold the rate, whichever of them is left at the end."""
    old, chance = checkout(tmp_path / BEFORE), random.Random(20261128)
    with Fleet(tmp_path, STEADY, plan=PLAN, settings=SETTINGS) as fleet:
        trial = Trial(fleet, f"two versions side by side, then {last} alone")
        workers = [(root, fleet.launch(root=root).wait_until_started()) for root in (old, old, ROOT, ROOT)]
        with fleet.producing(LIMIT * 2 // 3):
            for number in range(ROUNDS):
                hold_and_replay(fleet, *((old, ROOT) if number % 2 else (ROOT, old)))
                for _ in range(KILLS):
                    pass_time(chance.uniform(0.0, 0.7))
                    root, victim = workers.pop(0)
                    workers.append((root, fleet.launch(root=root)))
                    trial.kill(victim)
                    workers[-1][1].wait_until_started()
        leaving = old if last == "this version" else ROOT
        for root, worker in workers:
            if root == leaving:
                worker.terminate()
                assert worker.wait() == 0
        trial.end()
        assert max(trial.seconds) < 5 * PROMISE * LEASE
        key = fleet.simulator.key("tencent")
        assert max(key[second]["worst_on_time"] for second in ("aligned", "sliding")) <= LIMIT
