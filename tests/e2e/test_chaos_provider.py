"""A provider that breaks a fifth of all calls, and events that kill their worker, at length."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.test_poison import restart_the_dead
from tests.e2e.test_provider_trouble import BROKEN, SOON
from tests.support.chaos import SETTINGS, Trial
from tests.support.events import event_of
from tests.support.fleet import ALIBABA, Account, Fleet
from tests.support.odd_worker import LETHAL
from tests.support.wait import until
from tests.support.worker_process import odd

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

EVENTS = 1500
SHARE = 0.2
SLOW = Account("tencent", "tencent", 200)
POISON, NEIGHBOURS = 2, 600
DEATHS = 5


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_calls(tmp_path: Path, kind: str) -> None:
    """With every fifth call broken all is delivered; sent twice is only what the provider took without saying so."""
    slow = {"delay_ms": 60_000} if kind == "drip" else {}
    plan = {"faults": [{"kind": kind, "share": SHARE, **slow}], "latency": {"base_ms": 50}}
    patient = replace(ALIBABA, settings={"max_attempts": 30})
    with Fleet(tmp_path, patient, plan=plan, settings={**SOON, "read_timeout": 4.0}) as fleet:
        trial = Trial(fleet, f"provider: {kind} ({SHARE:.0%} of the calls)")
        worker = fleet.start_worker()
        trial.watch([worker])
        fleet.enqueue(EVENTS, "alibaba")
        fleet.wait_until_settled(300)
        trial.times = round(worker.metric("otpreport_attempts_total", result="unknown"))
        assert trial.times == fleet.arrivals() - EVENTS
        audit = trial.end()
        assert 0 < audit.twice.total() <= trial.times if BROKEN[kind] else not audit.twice


def test_always_lost(tmp_path: Path) -> None:
    """An event whose every answer is lost is sent MAX_ATTEMPTS times, then is a dead letter that is in doubt."""
    account = replace(ALIBABA, settings={"max_attempts": 3})
    with Fleet(
        tmp_path, account, plan={"faults": [{"kind": "lost"}]}, settings={**SOON, "read_timeout": 4.0}
    ) as fleet:
        trial = Trial(fleet, "provider: every answer lost, at most 3 attempts")
        worker = fleet.start_worker()
        trial.watch([worker])
        fleet.enqueue(300, "alibaba")
        fleet.wait_until_settled(200)
        trial.times = fleet.arrivals()
        audit = trial.end(dead=300)
        assert trial.times == 900
        assert max(audit.twice.values()) == 2
        assert all(story["in_doubt"] for story, _ in fleet.dead_letters("alibaba"))


def test_poison(tmp_path: Path) -> None:
    """Events that kill their workers end as dead letters with their bytes; of hundreds beside them none is dead."""
    with Fleet(tmp_path, SLOW, plan={"latency": {"base_ms": 50}}, settings=SETTINGS) as fleet:
        trial = Trial(fleet, f"poison: {POISON} events that kill their worker")
        workers = [fleet.launch(odd("lethal")) for _ in range(2)]
        fleet.enqueue(NEIGHBOURS // 3)
        poison = {event.message_id for event in fleet.enqueue(POISON, prefix=LETHAL)}
        fleet.enqueue(NEIGHBOURS - NEIGHBOURS // 3)

        def settled() -> bool:
            for worker in workers:
                if not worker.running:
                    trial.died(worker)
            restart_the_dead(fleet, workers)
            return fleet.books()["tencent"].settled

        until(settled, deadline=400, pause=0.1)
        trial.end(dead=POISON)
        letters = fleet.dead_letters()
        assert {event_of(raw).message_id for _, raw in letters} == poison
        assert {(story["reason"], story["deaths"]) for story, _ in letters} == {("poison", DEATHS)}
