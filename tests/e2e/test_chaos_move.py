"""The move to another Redis with a `kill -9` at each of its commands: of the commands, and of either Redis."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.e2e.test_move import FAILS_ONCE, OURSELVES, Move, script
from tests.support.admin import admin
from tests.support.chaos import SETTINGS, Trial
from tests.support.fleet import TENCENT, Fleet
from tests.support.wait import until
from worker.embedded import EmbeddedValkey

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

VICTIMS: dict[str, Callable[[Move], EmbeddedValkey | None]] = {
    "the commands": lambda _: None,
    "the old Redis": lambda move: move.old,
    "the new Redis": lambda move: move.new,
}


@pytest.mark.parametrize("name", VICTIMS)
def test_move_is_killed(tmp_path: Path, name: str) -> None:
    """Run again until it ends, it loses nothing; reported twice is at most what the killed worker had sent."""
    with (
        EmbeddedValkey(tmp_path / "new") as new,
        redis.Redis(port=new.port) as new_client,
        Fleet(
            tmp_path, TENCENT, plan=FAILS_ONCE, settings=SETTINGS, options={"appendfsync": "always"}
        ) as fleet,
    ):
        old_client = fleet.redis
        trial = Trial(fleet, f"move to another Redis, `kill -9` of {name} at each call")
        worker = fleet.start_worker()
        fleet.enqueue(500)
        fleet.enqueue(5, prefix="retry-")
        fleet.push_raw(b"nonsense")
        fleet.wait_until_delivered(100)
        worker.kill9()
        trial.died(worker)
        fleet.enqueue(100)
        copies = fleet.sent[:100]
        fleet.redis = new_client
        fleet.push(copies)
        del fleet.sent[-len(copies) :]
        move = Move(tmp_path, script(), fleet.valkey, new)
        server = VICTIMS[name](move)
        kills = 0
        while True:
            calls, left = move.run(kills + 1, server.pid if server else OURSELVES)
            if calls <= kills:
                break
            kills += 1
            if server:
                server.kill()
                server.start()
        trial.times = kills
        assert left == "0"
        assert not admin(old_client).keys("*")
        fleet.configure(redis_url=new.url)
        fleet.start_worker()
        until(lambda: fleet.books()["tencent"].dead == 1)
        audit = trial.end(dead=1, strangers=1 + len(copies))
        assert audit.books["tencent"].duplicate >= len(copies)
