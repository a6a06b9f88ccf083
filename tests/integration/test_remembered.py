"""What was delivered is known for as long as DEDUPE_TTL says, whoever changes it, to what, and when.

The functions of remembered.lua run in Redis with times of the test's own; all of them lie ahead, so that no set expires
by itself: the test removes what would have.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.dedupe import Remembered
from tasks.script import FOLDER
from tasks.shared import prelude

HOUR = 3600
BUCKET = 7
PARTS = "".join((FOLDER / file).read_text(encoding="utf-8") for file in ("sound.lua", "remembered.lua"))
FUNCTIONS = f"{prelude(PARTS)}\n{PARTS}"
DELIVER = f"""{FUNCTIONS}
local now = tonumber(ARGV[2])
memory('', widths_in_use('', tonumber(ARGV[1]), now), now)(ARGV[3], {BUCKET})
"""
ASK = f"""{FUNCTIONS}
local now = tonumber(ARGV[2])
local _, width = widths_in_use('', tonumber(ARGV[1]), now)
return recollection('', width, now)({BUCKET}, ARGV[3]) and 1 or 0
"""


class Worker:
    """A worker of this version."""

    def __init__(self, server: redis.Redis, hours: int) -> None:
        self.hours = hours
        self._deliver: Callable[..., Any] = server.register_script(DELIVER)
        self._ask: Callable[..., Any] = server.register_script(ASK)

    @property
    def width(self) -> int:
        """Seconds of a generation."""
        return Remembered(self.hours * HOUR).width

    def deliver(self, event: int, now: int) -> None:
        """Remember an event."""
        self._deliver(args=[self.width, now, event])

    def knows(self, event: int, now: int) -> bool:
        """Tell whether an event is known to be delivered."""
        return bool(self._ask(args=[self.width, now, event]))


class Earlier(Worker):
    """A worker of the version before: it knows no width but its own."""

    def __init__(self, server: redis.Redis, hours: int) -> None:
        super().__init__(server, hours)
        self._server: Any = server

    def deliver(self, event: int, now: int) -> None:
        """Remember an event."""
        key = f"otpreport:done:{now // self.width}:{BUCKET}"
        self._server.sadd(key, event)
        self._server.hincrby("otpreport:books", "tencent:delivered", 1)
        if self._server.ttl(key) < 0:
            self._server.expireat(key, (now // self.width + 1) * self.width + self.hours * HOUR)

    def knows(self, event: int, now: int) -> bool:
        """Tell whether an event is known to be delivered."""
        keys = [f"otpreport:done:{now // self.width - age}:{BUCKET}" for age in range(3)]
        return any(self._server.sismember(key, event) for key in keys)


@dataclass
class Course:
    """Hours that pass, what is delivered meanwhile, and which DEDUPE_TTL was in force when."""

    server: Any
    workers: list[Worker]
    now: int = field(default_factory=lambda: (int(time.time()) // HOUR + 24) * HOUR)
    delivered: dict[int, int] = field(default_factory=dict[int, int])
    ttls: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def __post_init__(self) -> None:
        self.ttls = [(self.now, worker.hours) for worker in self.workers]

    def change(self, worker: Worker, hours: int) -> None:
        """Start a worker anew with another setting."""
        worker.hours = hours
        self.ttls.append((self.now, hours))

    def deliver(self, worker: Worker) -> None:
        """Deliver an event, in a second of its own."""
        event = len(self.delivered) + 1
        self.now += 1
        worker.deliver(event, self.now)
        self.delivered[event] = self.now
        self.now += 1

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds
        for key in self.server.keys("otpreport:done:*"):
            if self.server.expiretime(key) <= self.now:
                self.server.delete(key)

    def forgotten(self) -> list[str]:
        """Return what a worker does not know although the shortest time that was in force since has not passed."""
        shortest = min(hours for _, hours in self.ttls) * HOUR
        return [
            f"{worker.hours} h, delivered {(self.now - at) / HOUR} h ago"
            for worker in self.workers
            for event, at in self.delivered.items()
            if self.now - at < shortest and not worker.knows(event, self.now)
        ]


HOURS = st.sampled_from([1, 2, 5, 12, 24, 30, 48, 100])
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["deliver", "change"]), HOURS, st.integers(0, 20 * HOUR)),
    max_size=20,
)
REAL = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def play(server: Any, workers: list[Worker], steps: list[tuple[int, str, int, int]]) -> list[str]:
    """Go through a course; return what was forgotten on the way."""
    server.flushall()
    course, forgotten = Course(server, workers), list[str]()
    for number, step, hours, pause in steps:
        worker = course.workers[number]
        if step == "change":
            course.change(worker, hours)
        else:
            course.deliver(worker)
        forgotten += course.forgotten()
        course.wait(pause)
        forgotten += course.forgotten()
    return forgotten


RAISED = [
    (0, "deliver", 0, HOUR),
    (0, "change", 48, 0),
    (1, "deliver", 0, HOUR),
    (1, "change", 48, 20 * HOUR),
]
LOWERED = [
    (0, "deliver", 0, HOUR),
    (0, "change", 12, 0),
    (1, "deliver", 0, HOUR),
    (1, "change", 12, 9 * HOUR),
]
TWICE = [*RAISED, (0, "change", 5, 0), (0, "deliver", 0, 2 * HOUR), (1, "change", 30, HOUR)]


@REAL
@given(HOURS, STEPS)
@example(24, RAISED)
@example(24, LOWERED)
@example(24, TWICE)
def test_a_change_forgets_nothing(
    valkey: redis.Redis, hours: int, steps: list[tuple[int, str, int, int]]
) -> None:
    """Raised, lowered, changed again, on one worker before the other: what is younger than the shortest is known."""
    assert play(valkey, [Worker(valkey, hours), Worker(valkey, hours)], steps) == []


@pytest.mark.parametrize("steps", [RAISED, LOWERED, TWICE])
def test_the_version_before_forgot(valkey: redis.Redis, steps: list[tuple[int, str, int, int]]) -> None:
    """The control: where each worker looks under its own width alone, a change forgets what was delivered."""
    assert play(valkey, [Earlier(valkey, 24), Earlier(valkey, 24)], steps)


@pytest.mark.parametrize("hours", [12, 24, 30, 48, 100])
def test_beside_the_version_before(valkey: Any, hours: int) -> None:
    """Workers of the version before, with the default, and new ones with whatever setting know of each other's."""
    earlier = Earlier(valkey, 24)
    course = Course(valkey, [earlier])
    course.deliver(earlier)
    course.wait(3 * HOUR)
    course.deliver(earlier)
    new = Worker(valkey, hours)
    course.workers.append(new)
    course.ttls.append((course.now, hours))
    for _ in range(11):
        assert course.forgotten() == []
        course.deliver(earlier)
        course.deliver(new)
        course.wait(2 * HOUR)
    course.workers.remove(earlier)
    for _ in range(30):
        assert course.forgotten() == []
        course.deliver(new)
        course.wait(2 * HOUR)
    assert len(valkey.zrange("otpreport:remembered", 0, -1)) == 1


def test_one_look_up_one_write(valkey: Any) -> None:
    """While no setting changes an event costs one member of one set, and a look-up three sets."""
    course = Course(valkey, [Worker(valkey, 48)])
    course.deliver(course.workers[0])
    assert len(valkey.keys("otpreport:done:*")) == 1
    calls = valkey.info("commandstats").get("cmdstat_sismember", {"calls": 0})["calls"]
    assert not course.workers[0].knows(99, course.now)
    assert valkey.info("commandstats")["cmdstat_sismember"]["calls"] == calls + 3
