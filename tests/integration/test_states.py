"""The account's state machine: the scripts do what the one table of it says, in every state."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from providers import Outcome, Result
from tasks.accounts.states import NAMES, STORED, TRANSITIONS, UNKNOWN, States
from tasks.fleet.operation import Mode, Operation
from tasks.limiter.admission import RateGroup
from tasks.queue.breaker import CallBucket
from tasks.queue.queue import REFUSED_RUN
from tasks.retry import Reason
from tasks.settlement import Bury
from tasks.shared import RAMP, RAMP_STEP_MS
from tests.support.queues import Fleet

NAME = "tencent"
LETTER = Bury(Reason.PERMANENT, b'{"code":"x","message":"no"}\n')
WORDS = {name: word for word, name in STORED.items()} | {UNKNOWN: "from-the-future"}

Happening = Callable[[Fleet], Awaitable[object]]


def states(fleet: Fleet) -> States:
    """Return the states as a worker sees them."""
    return States(fleet.client, fleet.keys, {NAME: RateGroup(NAME, 1000)})


def put(fleet: Fleet, state: str) -> None:
    """Put the account into a state as it is stored."""
    account = fleet.keys.account(NAME)
    fleet.server.delete(account)
    if state == "recovering":
        began_ms = fleet.now_us() // 1000 - RAMP_STEP_MS // 2
        fleet.server.hset(account, mapping={"resumed_ms": began_ms, "ramp_rate": 1000})
    elif word := WORDS[state]:
        fleet.set_state(word)


async def fail(fleet: Fleet) -> None:
    """Let a worker tell of calls that failed just now."""
    group = CallBucket(40, 40, 40, "InternalError", 0, 40)
    queue = fleet.queue()
    now = math.ceil(time.monotonic())
    await queue.settle([], queue.next_call(), {(NAME, now, now): group})


async def refuse_events(fleet: Fleet) -> None:
    """Let as many events be refused as stop an account."""
    stored = fleet.state()
    fleet.server.delete(fleet.keys.account(NAME))
    fleet.send_many(REFUSED_RUN)
    deliveries = await fleet.take(REFUSED_RUN)
    if stored:
        fleet.server.hset(fleet.keys.account(NAME), mapping=stored)
    for delivery in deliveries:
        await fleet.settle(delivery, LETTER)


async def pass_time(fleet: Fleet) -> None:
    """Let the whole ramp pass."""
    if fleet.state().get("ramp_rate"):
        fleet.server.hincrby(fleet.keys.account(NAME), "resumed_ms", -len(RAMP) * RAMP_STEP_MS)


def operation(fleet: Fleet) -> Operation:
    """Return an operator's hand."""
    return Operation(fleet.server, fleet.keys)


async def pause(fleet: Fleet, mode: Mode) -> None:
    """Let an operator degrade the account."""
    operation(fleet).pause(NAME, mode, by="kim", why="a test")


async def resume(fleet: Fleet) -> None:
    """Let an operator resume the account."""
    operation(fleet).resume(NAME)


HAPPENINGS: dict[str, Happening] = {
    "calls fail": fail,
    "events are refused in a row": refuse_events,
    "the account is refused": lambda fleet: states(fleet).stop(NAME, Outcome(Result.ACCOUNT, "x"), 0.0),
    "a probe is answered": lambda fleet: states(fleet).resume(NAME, delivered=False),
    "a probe is delivered": lambda fleet: states(fleet).resume(NAME, delivered=True),
    "time passes": pass_time,
    "an operator pauses": lambda fleet: pause(fleet, Mode.WAIT),
    "an operator sheds": lambda fleet: pause(fleet, Mode.SHED),
    "an operator resumes": resume,
}


@pytest.mark.parametrize("state", NAMES)
@pytest.mark.parametrize("happening", TRANSITIONS)
async def test_the_scripts_keep_to_the_table(fleet: Fleet, happening: str, state: str) -> None:
    """Whatever happens in whatever state, the state that follows is the table's, or the one before."""
    put(fleet, state)
    assert (await states(fleet).read())[NAME].name == state
    await HAPPENINGS[happening](fleet)
    assert (await states(fleet).read())[NAME].name == TRANSITIONS[happening].get(state, state)


def test_every_happening_is_tried() -> None:
    """The test above has a way to let each of them happen."""
    assert HAPPENINGS.keys() == TRANSITIONS.keys()


def test_the_drawing_is_the_table() -> None:
    """docs/architecture.md draws each transition; an operator's, which leave any state, from one."""
    page = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
    drawn = set(re.findall(r"^    (\w+) --> (\w+):", page, re.MULTILINE))
    between_hands = {
        ("running", "paused"),
        ("running", "shedding"),
        ("paused", "running"),
        ("shedding", "running"),
    }
    found = {
        pair
        for what, pairs in TRANSITIONS.items()
        if not what.startswith("an operator")
        for pair in pairs.items()
    }
    assert drawn == found | between_hands


@pytest.mark.parametrize("state", sorted(WORDS))
async def test_new_keys_have_a_refused_account_probed_at_once(fleet: Fleet, state: str) -> None:
    """And leave every other state as it is: an operator's pause, or a breaker that waits for the provider."""
    put(fleet, state)
    account = fleet.keys.account(NAME)
    if fleet.server.exists(account):
        fleet.server.hset(account, "probe_at_ms", fleet.now_us() // 1000 + 20_000)
    before = fleet.server.hgetall(account)
    await states(fleet).probe_now(NAME)
    after = fleet.server.hgetall(account)
    if state == "refused":
        assert int(after.pop(b"probe_at_ms")) <= fleet.now_us() // 1000
        before.pop(b"probe_at_ms")
    assert after == before
