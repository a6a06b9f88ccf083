"""Web apps that share a spool through an outage, for as long as it takes to start and end two hundred of them."""

from pathlib import Path

import pytest
import redis

from otpreport import Reporter
from tests.support.chaos import Row, record
from tests.support.events import arrived
from tests.support.spool_apps import lost
from tests.support.wait import until
from worker.embedded import EmbeddedValkey

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

STARTS = 200


def test_apps_that_share_a_spool(tmp_path: Path) -> None:
    """What any of them was told is spooled arrives when Redis is back, and none of it twice."""
    events, missing = lost(tmp_path, STARTS, "chaos")
    with (
        EmbeddedValkey(tmp_path / "valkey") as server,
        redis.Redis(port=server.port) as client,
        Reporter(server.url, spool=tmp_path / "spool.sqlite3", timeout=10.0),
    ):
        until(lambda: len(set(arrived(client))) >= events - len(missing), deadline=60)
        ids = arrived(client)
    told = set((tmp_path / "log").read_text(encoding="utf-8").split())
    row = Row(
        "web apps that share a spool start, fork, end and are killed while Redis is away",
        times=STARTS,
        events=events,
        lost=len(told - set(ids)),
        again=len(ids) - len(set(ids)),
    )
    record(row)
    assert (row.lost, row.again) == (0, 0)
    assert events > 5 * STARTS
