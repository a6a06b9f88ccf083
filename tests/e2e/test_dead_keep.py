"""A worker that lets dead letters go that are beyond what is kept."""

from pathlib import Path

from tests.support.dead import bury_many
from tests.support.fleet import Fleet
from tests.support.wait import until


def test_a_worker_removes_what_is_too_many(tmp_path: Path) -> None:
    """It logs and counts them, and the books balance."""
    with Fleet(tmp_path) as fleet:
        fleet.configure(dead_keep_count=100)
        bury_many(fleet.redis, fleet.events(1000))
        worker = fleet.start_worker()
        until(lambda: fleet.books()["tencent"].dead == 100)
        books = fleet.check().books["tencent"]
        assert (books.purged, books.open) == (900, 0)
        until(lambda: sum(line["letters"] for line in worker.lines("dead letters removed")) >= 900)
        removed = worker.lines("dead letters removed")
        assert {line["bound"] for line in removed} == {"count"}
        assert {line["level"] for line in removed} == {"warning"}
        assert sum(line["letters"] for line in removed) == 900
        assert worker.metric("otpreport_dead_removed_total", account="tencent", bound="count") == 900
