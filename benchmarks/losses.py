"""What is never reported of events that wait while their worker is killed again and again."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial

from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.peers.recording import Playback
from benchmarks.peers.run import PEERS, Peer, record, work
from benchmarks.process import Process
from benchmarks.stage import Stage
from benchmarks.usage import tree

EVENTS = 5000
KILLS = 5
PATIENCE = 180.0
"""Seconds after the last kill in which everything may still be reported."""

TRICKLE = 0.2
"""Events a second that come meanwhile: some queues look at what was left only when something new comes."""

TITLE = f"Events never reported: {EVENTS} waiting, kill -9 {KILLS} times"
TAKES_OVER = {"faststream": "work_and_take_over", "faststream-batch": "work_batched_and_take_over"}


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of the events of one run."""

    lost: int
    twice: int
    seconds: float


def run(effort: Effort) -> Finding:
    """Kill each five times; the peers whose environment can't be made are left out."""
    events, patience = EVENTS, effort.of(PATIENCE, 40.0)
    rows: list[tuple[str, ...]] = []
    found: dict[str, dict[str, float]] = {}
    absent: list[str] = []
    with Stage() as stage:
        for label, begin in _contenders(stage, events, patience, absent):
            stage.clear()
            loss = begin()
            say(f"  {label}: {loss}")
            found[label] = asdict(loss)
            until = f"{loss.seconds:.0f} s" if not loss.lost else f"not within {patience:.0f} s"
            rows.append((label, str(loss.lost), str(loss.twice), until))
    header = ("", "never reported", "reported twice", "all reported after the last kill in")
    note = (
        f"One run each: a loss is as large as what the worker held, so its size says little. Every {1 / TRICKLE:.0f} s "
        "another event comes. Reported twice: the request had left when the worker was killed."
    )
    return Finding(TITLE, header, rows, " ".join([note, *absent]), found)


def _contenders(
    stage: Stage, events: int, patience: float, absent: list[str]
) -> Iterator[tuple[str, Callable[[], Loss]]]:
    yield "otpreport, one worker process", lambda: _ours(stage, events, patience)
    for peer in PEERS:
        try:
            python = peer.environment.make()
            recorded = record(peer, python, events + round(TRICKLE * patience))
        except RuntimeError as error:
            absent.append(f"{peer.label} was not tried: {error}.")
            continue
        for one in _forms(peer):
            yield one.label, partial(_theirs, stage, one, python, recorded, events, patience)


def _forms(peer: Peer) -> Iterator[Peer]:
    """Yield a peer as its speed is measured, and as its documents say that it takes over what was left."""
    yield peer
    if role := TAKES_OVER.get(peer.name):
        yield replace(peer, label=f"{peer.label}, second subscriber", role=role)


def _ours(stage: Stage, events: int, patience: float) -> Loss:
    stage.push(events)
    return _kill(stage, stage.worker, events, patience, None)


def _theirs(
    stage: Stage, peer: Peer, python: str, recorded: Sequence[bytes], events: int, patience: float
) -> Loss:
    with Playback(stage.valkey.port, recorded[:events], math.inf) as waiting:
        while waiting.sent < events:
            time.sleep(0.1)
        trickle = Playback(stage.valkey.port, recorded[events:], TRICKLE)
        return _kill(stage, lambda: work(peer, python, stage), events, patience, trickle)


def _kill(
    stage: Stage, start: Callable[[], Process], events: int, patience: float, trickle: Playback | None
) -> Loss:
    """Kill a worker soon after it has begun to report, five times; then let one work until all are reported."""
    for number in range(KILLS):
        before = stage.taken()
        with start() as process:
            with suppress(RuntimeError):  # all that is left belongs to those that were killed
                stage.wait(partial(_has_taken_more, stage, before), process, deadline=10.0)
            time.sleep(0.2 + 0.06 * number)
            for pid in tree(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    with start(), trickle or nullcontext():
        while missing := events + (trickle.sent if trickle else 0) - _distinct(stage):
            if time.monotonic() > began + patience:
                break
            time.sleep(0.5)
        seconds = time.monotonic() - began
    return Loss(missing, len(stage.simulator.ledger()) - _distinct(stage), seconds)


def _has_taken_more(stage: Stage, before: int) -> bool:
    return stage.taken() > before


def _distinct(stage: Stage) -> int:
    return len({row["message_id"] for row in stage.simulator.ledger()})
