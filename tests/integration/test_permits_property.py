"""Whatever happens to workers, network and Redis: never more requests open than the limit. The clock is ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.script import text_of
from worker.embedded import EmbeddedValkey

LIMIT, WORKERS = 3, 3
LATENESS, LONGEST = 60, 1000
"""Ms in which a granted request begins, or not at all; after which one that began is over."""

HOLD = LONGEST + 200
CLOCK = "local time = redis.call('TIME')"
PERMITS = "otpreport:permits:g"
NO_HOLD = "wanted - granted, now, now + hold, call", "wanted - granted, now, now, call"
NO_NUMBER = "if own >= call then", "if false then"
NO_RUN = "if process ~= run then", "if run == '' then"


@dataclass
class Worker:
    """A worker's own view: how many requests it has open or granted, and the number of its last call."""

    name: str
    open: list[int] = field(default_factory=list[int])
    """When each of its requests is over."""
    calls: int = 0
    frozen: bool = False
    delayed: list[list[str | int]] = field(default_factory=list[list[str | int]])
    """Calls that Redis gets later, whose answer nobody reads."""


class World:
    """Workers, their provider, and a Redis whose clock and identity the test sets."""

    def __init__(self, server: redis.Redis, *changes: str) -> None:
        self.server: Any = server
        self.server.flushdb()
        text = text_of("limiter/admit.lua")
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        assert CLOCK in text
        text = text.replace(CLOCK, "local time = redis.call('LRANGE', 'clock', 0, 1)")
        text, number = re.subn(r"redis\.pcall\('INFO', 'server'\)", "redis.call('GET', 'run')", text)
        assert number == 1
        self._script = server.register_script(text)
        self.ms, self.runs, self.behind = 1_000_000, 0, 0
        self.workers = [self._new() for _ in range(WORKERS)]
        self.at_the_door: list[int] = []
        """When each open request ends, whatever became of its worker."""
        self.most = 0
        self._another_run()
        self._set_clock()
        self.ask(0, 0)
        self.wait(HOLD + 1)

    def _new(self) -> Worker:
        self.started = getattr(self, "started", 0) + 1
        return Worker(f"w{self.started}")

    def _another_run(self) -> None:
        self.runs += 1
        self.server.set("run", f"run_id:r{self.runs}")

    def _set_clock(self) -> None:
        with self.server.pipeline() as pipe:
            pipe.delete("clock")
            ms = self.ms - self.behind
            pipe.rpush("clock", ms // 1000, ms % 1000 * 1000)
            pipe.execute()

    def _call(self, arguments: list[str | int]) -> list[Any]:
        reply: list[Any] = self._script(["held", "claims"], arguments)
        return reply

    def _arguments(self, worker: Worker, wanted: int) -> list[str | int]:
        worker.calls += 1
        head: list[str | int] = ["", 50_000, 0, 43_200, 1, "g", 100_000, "0.04"]
        limited: list[str | int] = [
            1,
            worker.name,
            worker.calls,
            HOLD * 1000,
            1,
            LIMIT,
            len(worker.open),
            wanted,
        ]
        tags = [f"{worker.name}-{worker.calls}-{n}" for n in range(wanted)]
        if tags:
            self.server.sadd("held", *tags)
        events = [word for tag in tags for word in (1, tag, f"1:{tag}", f"1:{tag}")]
        return [*head, *limited, 1, 1, "a", "1", *events]

    def ask(
        self, number: int, wanted: int, *, how: str = "heard", late: int = 0, takes: int = LONGEST
    ) -> None:
        """Let a worker ask; `how`: the answer is heard, lost, or the call itself is late."""
        worker = self.workers[number]
        if worker.frozen:
            return
        arguments = self._arguments(worker, wanted)
        if how == "delayed":
            worker.delayed.append(arguments)
            return
        granted = sum(int(answer) >= 0 for answer in self._call(arguments)[1 : 1 + wanted])
        if how == "heard":
            self.wait(late)
            ends = [self.ms + takes] * granted
            worker.open += ends
            self.at_the_door += ends
            self.most = max(self.most, len(self.at_the_door))

    def wait(self, ms: int) -> None:
        """Let time pass; requests end."""
        self.ms += ms
        self._set_clock()
        self.at_the_door = [ends for ends in self.at_the_door if ends > self.ms]
        for worker in self.workers:
            if not worker.frozen:
                worker.open = [ends for ends in worker.open if ends > self.ms]

    def catch_up(self, number: int) -> None:
        """Let Redis run what a worker asked long ago."""
        worker = self.workers[number]
        if worker.delayed:
            self._call(worker.delayed.pop(0))

    def kill(self, number: int) -> None:
        """End a worker on a host that is cut off: what it has open stays open; another one starts."""
        self.workers[number] = self._new()

    def freeze(self, number: int) -> None:
        """Stop a worker, or let it go on."""
        worker = self.workers[number]
        worker.frozen = not worker.frozen

    def set_back(self, ms: int) -> None:
        """Set Redis' clock back."""
        self.behind += ms
        self._set_clock()

    def lose(self, how: str) -> None:
        """Restart Redis, with everything, with the state of a moment ago, or with nothing."""
        if how == "all":
            self.server.delete(PERMITS)
        elif how == "some":
            for name in self.server.hkeys(PERMITS):
                if not name.startswith(b"@"):
                    self.server.hdel(PERMITS, name)
        self._another_run()


ACTS = st.one_of(
    st.tuples(
        st.just("ask"),
        st.integers(0, WORKERS - 1),
        st.integers(0, LIMIT + 1),
        st.sampled_from(["heard", "heard", "heard", "lost", "delayed"]),
        st.integers(0, LATENESS),
        st.integers(1, LONGEST),
    ),
    st.tuples(st.just("wait"), st.sampled_from([1, 20, 100, 600, HOLD + 1])),
    st.tuples(st.sampled_from(["catch_up", "kill", "freeze"]), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("set_back"), st.sampled_from([10, 5000])),
    st.tuples(st.just("lose"), st.sampled_from(["all", "some", "nothing"])),
)

Act = tuple[Any, ...]


def play(world: World, acts: list[Act]) -> int:
    """Let all happen; return the most requests that were open."""
    for name, *rest in acts:
        if name == "ask":
            number, wanted, how, late, takes = rest
            world.ask(number, wanted, how=how, late=late, takes=takes)
        else:
            getattr(world, name)(*rest)
    return world.most


@pytest.fixture
def server(shared_valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    """Yield a database of its own."""
    with redis.Redis(port=shared_valkey.port, db=7) as client:
        yield client


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTS, max_size=40))
def test_never_more_than_the_limit(server: redis.Redis, acts: list[Act]) -> None:
    """Kills, freezes, lost and late calls, slow and quick answers, a Redis that forgets: the limit holds."""
    assert play(World(server), acts) <= LIMIT


ASK_ALL = ("ask", 0, LIMIT, "heard", 0, LONGEST)
OTHER_ASKS = ("ask", 1, LIMIT, "heard", 0, LONGEST)


@pytest.mark.parametrize(
    ("change", "acts"),
    [
        (NO_HOLD, [ASK_ALL, ("kill", 0), ("wait", 1), OTHER_ASKS]),
        (NO_NUMBER, [("ask", 0, 0, "delayed", 0, 1), ASK_ALL, ("catch_up", 0), OTHER_ASKS]),
        (NO_RUN, [ASK_ALL, ("lose", "some"), OTHER_ASKS]),
    ],
)
def test_without_one_protection_there_are_more(
    server: redis.Redis, change: tuple[str, str], acts: list[Act]
) -> None:
    """The controls: each protection switched off lets a case through that it stops."""
    assert play(World(server), acts) <= LIMIT
    assert play(World(server, *change), acts) > LIMIT


def test_what_is_free_is_given(server: redis.Redis) -> None:
    """The model is no proof by doing nothing: permits are granted, and again when they are back."""
    world = World(server)
    assert play(world, [ASK_ALL]) == LIMIT
    world.wait(LONGEST + 1)
    world.ask(0, 0)
    world.ask(1, LIMIT)
    assert len(world.at_the_door) == LIMIT
    world.kill(1)
    world.wait(HOLD + 1)
    world.ask(2, LIMIT)
    assert len(world.at_the_door) == LIMIT


def test_who_comes_first_leaves_the_others_their_share(server: redis.Redis) -> None:
    """A worker that has all permits and could take them again leaves as many as others want, up to an equal share."""
    world = World(server)
    world.ask(0, LIMIT, takes=100)
    world.ask(1, LIMIT)
    world.wait(101)
    world.ask(0, LIMIT)
    world.ask(1, LIMIT)
    assert sorted(len(world.workers[number].open) for number in (0, 1)) == [1, 2]
