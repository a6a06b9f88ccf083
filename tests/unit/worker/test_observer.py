"""What a worker notes of its attempts."""

import pytest

from providers.base import Outcome, Result
from tasks.delivery import Delivery, Leased
from tasks.history import History
from tasks.message import OPTIONS
from tasks.retry import Reason
from tasks.settlement import Bury, Ending, Finish, Schedule, Track
from tests.support.events import verification
from worker.metrics import Metrics
from worker.observer import WorkerObserver


@pytest.mark.parametrize("result", list(Result))
def test_every_attempt_that_failed_is_the_last_error(result: Result) -> None:
    """One that was delivered is none, and leaves the last error as it is."""
    observer = WorkerObserver(Metrics({"tencent": "tencent"}), {"tencent": "tencent"}, sample=0.0)
    delivery = Delivery(Leased("tencent", "tencent:w:1", 0, 0, 0, History(), b""), verification())
    observer.attempted(delivery, Outcome(result, "Code", "why"), 1, 0.05)
    observer.attempted(delivery, Outcome(Result.DELIVERED), 1, 0.05)
    noted = {account: (error.result, error.code) for account, error in observer.last_errors.take().items()}
    assert noted == ({} if result is Result.DELIVERED else {"tencent": (result.value, "Code")})


def test_a_clock_that_is_off_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """More than a minute, either way, and again when it ends; a little is no news."""
    observer = WorkerObserver(Metrics({"tencent": "tencent"}), {"tencent": "tencent"}, sample=0.0)
    for ahead in (0.3, 60.0, -90_000.0, -90_001.0, 61.0, 2.0, 1.0):
        observer.clock(ahead)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "clock is off"),
        ("WARNING", "clock is right again"),
    ]
    assert caplog.records[0].__dict__["fields"] == {"redis_ahead_seconds": -90_000}


@pytest.mark.parametrize(("replayed_ms", "aged"), [(None, 1), (1_700_000_000_000, 0)])
def test_a_delivered_event_is_counted_by_each_metric(*, replayed_ms: int | None, aged: int) -> None:
    """Its wait, its attempt, that one's duration, its end, and its age unless it was replayed."""
    metrics = Metrics({"tencent": "tencent"})
    observer = WorkerObserver(metrics, {"tencent": "tencent"}, sample=0.0)
    leased = Leased("tencent", "tencent:w:1", 0, 0, 0, History(replayed_ms=replayed_ms), b"")
    delivery = Delivery(leased, verification())
    observer.admitted(delivery, 0.25)
    observer.attempted(delivery, Outcome(Result.DELIVERED), 1, 0.5)
    observer.ended(delivery, Finish(Ending.DELIVERED))
    labels = {"account": "tencent", "provider": "tencent"}
    read = metrics.registry.get_sample_value
    assert read("otpreport_admission_wait_seconds_bucket", {**labels, "le": "0.25"}) == 1
    assert read("otpreport_admission_wait_seconds_bucket", {**labels, "le": "0.1"}) == 0
    assert read("otpreport_admission_wait_seconds_sum", labels) == 0.25
    assert read("otpreport_attempts_total", {**labels, "result": "delivered"}) == 1
    assert read("otpreport_attempt_duration_seconds_sum", labels) == 0.5
    assert read("otpreport_events_total", {**labels, "outcome": "delivered"}) == 1
    assert read("otpreport_event_age_seconds_count", labels) == aged


def test_an_ignored_option_is_counted_once_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An event that waits is not counted until it ends; the log names each option of an account once."""
    metrics = Metrics({"tencent": "tencent"})
    observer = WorkerObserver(metrics, {"tencent": "tencent"}, sample=0.0)
    leased = Leased("tencent", "tencent:w:1", 0, 0, 0, History(), b"")
    held = Delivery(leased, verification(), ("chain", "eta"))
    for settlement in (Schedule(1.0), Finish(Ending.DELIVERED), Bury(Reason.PERMANENT, b"{}\n")):
        observer.ended(held, settlement)
    observer.ended(leased, Finish(Ending.SHED))
    observer.ended(leased, Track(b"sent", ("chain",)))
    for option in OPTIONS:
        labels = {"account": "tencent", "provider": "tencent", "option": option}
        counted = metrics.registry.get_sample_value("otpreport_message_options_ignored_total", labels)
        assert counted == {"chain": 3, "eta": 2}.get(option, 0)
    told = [record for record in caplog.records if record.message == "message option ignored"]
    assert [(line.__dict__["fields"]["option"], line.levelname) for line in told] == [
        ("chain", "WARNING"),
        ("eta", "WARNING"),
    ]


@pytest.mark.parametrize(("level", "lines"), [("INFO", 1), ("WARNING", 0)])
def test_a_sampled_attempt_is_logged_where_its_level_is(
    caplog: pytest.LogCaptureFixture, level: str, lines: int
) -> None:
    """What is not logged takes its turn in the sample all the same."""
    caplog.set_level(level, "otpreport.worker")
    observer = WorkerObserver(Metrics({"tencent": "tencent"}), {"tencent": "tencent"}, sample=0.5)
    delivery = Delivery(Leased("tencent", "tencent:w:1", 0, 0, 0, History(), b""), verification())
    for _ in range(2):
        observer.attempted(delivery, Outcome(Result.DELIVERED), 1, 0.05)
    assert len(caplog.records) == lines


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize(("replayed_ms", "again"), [(None, 0), (1_700_000_000_000, 1)])
def test_a_replayed_letter_that_dies_again_is_told_from_the_others(
    *, readable: bool, replayed_ms: int | None, again: int
) -> None:
    """Each is a dead one; a replayed one, whether it can be read or not, is also counted as such."""
    metrics = Metrics({"tencent": "tencent"})
    leased = Leased("tencent", "tencent:w:1", 0, 0, 0, History(replayed_ms=replayed_ms), b"")
    ended = Delivery(leased, verification()) if readable else leased
    WorkerObserver(metrics, {"tencent": "tencent"}, sample=0.0).ended(ended, Bury(Reason.PERMANENT, b""))
    labels = {"account": "tencent", "provider": "tencent"}
    read = metrics.registry.get_sample_value
    assert read("otpreport_events_total", {**labels, "outcome": "dead"}) == 1
    assert read("otpreport_replays_dead_total", labels) == again
