"""Poison: an event that kills its worker each time ends as a dead letter, and its neighbours are delivered."""

from pathlib import Path

from tests.support.events import event_of
from tests.support.fleet import LONG, TENCENT, Account, Fleet
from tests.support.odd_worker import LETHAL
from tests.support.wait import until
from tests.support.worker_process import WorkerProcess, odd

SLOW = Account("tencent", "tencent", 200)
DEATHS = 5
"""Two in company, then three alone."""


def restart_the_dead(fleet: Fleet, workers: list[WorkerProcess]) -> None:
    """Put a new worker in the place of each that ended, as a supervisor would."""
    for index, worker in enumerate(workers):
        if not worker.running:
            workers[index] = fleet.launch(odd("lethal"))


def test_poison(tmp_path: Path) -> None:
    """After five deaths the event is a dead letter with its bytes; hundreds beside it are delivered."""
    with Fleet(tmp_path, SLOW, plan={"latency": {"base_ms": 50}}) as fleet:
        workers = [fleet.launch(odd("lethal")) for _ in range(2)]
        fleet.enqueue(150)
        (poison,) = fleet.enqueue(1, prefix=LETHAL)
        fleet.enqueue(250)

        def settled() -> bool:
            restart_the_dead(fleet, workers)
            return fleet.books()["tencent"].settled

        until(settled, deadline=100, pause=0.1)
        audit = fleet.check()
        (story, raw), *others = fleet.dead_letters()
        assert not others
        assert (story["reason"], story["deaths"]) == ("poison", DEATHS)
        assert event_of(raw).message_id == poison.message_id
        assert audit.books["tencent"].delivered == 400
        assert len(fleet.workers) == 2 + DEATHS


def test_harmless_elsewhere(tmp_path: Path) -> None:
    """The same event is delivered by a worker without the fault: it is the fault that kills, not the test."""
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        fleet.start_worker()
        fleet.enqueue(5, prefix=LETHAL)
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 5
