"""What a failed call of Redis is called, and how often it is told."""

import json
import logging

import pytest
from redis import exceptions

from worker.metrics import Metrics
from worker.observer import WorkerObserver
from worker.redis_fault import RedisFault
from worker.repeats import Repeats


@pytest.mark.parametrize(
    ("error", "event", "reason"),
    [
        (exceptions.ConnectionError("refused"), "redis unreachable", "ConnectionError: refused"),
        (exceptions.TimeoutError("late"), "redis unreachable", "TimeoutError: late"),
        (OSError("no route"), "redis unreachable", "RedisError: no route"),
        (exceptions.BusyLoadingError("is loading"), "redis refuses", "LOADING is loading"),
        (exceptions.OutOfMemoryError("used memory"), "redis refuses", "OOM used memory"),
        (exceptions.NoPermissionError("may not"), "redis refuses", "NOPERM may not"),
        (exceptions.ReadOnlyError("a replica"), "redis refuses", "READONLY a replica"),
        (exceptions.AuthenticationError("who?"), "redis refuses", "NOAUTH who?"),
        (exceptions.ResponseError("MISCONF no disk"), "redis refuses", "MISCONF no disk"),
        (exceptions.ResponseError("BUSY a script"), "redis refuses", "BUSY a script"),
        (
            exceptions.ResponseError("WRONGTYPE k: what script: f45a, on @user_script:35."),
            "redis refuses",
            "WRONGTYPE k: what",
        ),
        (
            exceptions.ResponseError("WRONGTYPE k: what script: on @user_script:35."),
            "redis refuses",
            "WRONGTYPE k: what",
        ),
    ],
)
def test_a_fault_is_called_what_it_is(
    error: exceptions.RedisError | OSError, event: str, reason: str
) -> None:
    """A server that answers is not unreachable, and its own code is told."""
    fault = RedisFault.of(error)
    assert (fault.event, fault.reason) == (event, reason)
    told = "redis is unreachable" if event == "redis unreachable" else f"redis refuses: {reason}"
    assert fault.sentence == told


def test_what_repeats_is_told_now_and_then() -> None:
    """At first, then every 30 s with how often it happened meanwhile; what stopped is told of anew."""
    now = 100.0
    repeats = Repeats(lambda: now)
    told: list[int | None] = []
    for _ in range(100):
        told.append(repeats.happened("x"))
        now += 0.5
    assert [times for times in told if times is not None] == [1, 60]
    assert repeats.over(quiet=2.0) == []
    now += 2.0
    assert repeats.over(quiet=2.0) == ["x"]
    assert repeats.happened("x") == 1


def test_a_refusing_redis_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line when it begins, however many calls fail, and one when it is over."""
    observer = WorkerObserver(Metrics({"tencent": "tencent"}), {"tencent": "tencent"}, sample=0.0)
    with caplog.at_level(logging.INFO):
        for _ in range(50):
            observer.redis(exceptions.ResponseError("MISCONF no disk"))
        assert observer.redis_away == "redis refuses: MISCONF no disk"
        for _ in range(3):
            observer.redis(None)
    assert observer.redis_away == ""
    assert [record.message for record in caplog.records] == ["redis refuses", "redis reachable again"]


def test_a_key_that_can_not_be_used_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The line names the key."""
    observer = WorkerObserver(Metrics({"tencent": "tencent"}), {"tencent": "tencent"}, sample=0.0)
    with caplog.at_level(logging.INFO):
        for _ in range(50):
            observer.faults(["otpreport:taken:tencent: WRONGTYPE what"])
    assert [record.message for record in caplog.records] == ["redis key unusable"]
    assert "otpreport:taken:tencent" in json.dumps(vars(caplog.records[0]), default=str)
