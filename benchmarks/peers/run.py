"""otpreport beside the asyncio queues, and beside loops without a queue, each offered 1000 reports a second."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import BARE, FLOOR, OURS, RATE, Contender
from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.peers.environment import Environment
from benchmarks.peers.recording import Playback, append_only_file, pieces
from benchmarks.process import Process
from benchmarks.reading import Spread, ratios
from benchmarks.rounds import disturbance, in_turns, plain
from benchmarks.stage import Stage
from worker.embedded import EmbeddedValkey

TITLE = f"Beside asyncio queues: CPU of one report, offered {RATE} a second"
NOTE = (
    "Median (least-greatest); the ratio is taken round by round. The peers use aiohttp; what their own "
    "producers wrote was recorded before and is played back."
)
STARTS = 12
"""Seconds that a worker may take to start, for which events are recorded, too."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A queue, its module here and what it can't do that otpreport does."""

    name: str
    label: str
    module: str
    environment: Environment
    lacks: str
    role: str = "work"


FASTSTREAM = Environment("faststream", ("faststream[redis]==0.7.8", "redis==8.1.0"))
NOTHING = "no shared rate, no dedupe, no circuit breaker, no dead letters by cause, no books"
PEERS = (
    Peer(
        "ardiq",
        "ArdiQ + aiohttp",
        "ardiq_peer",
        Environment("ardiq", ("ardiq==1.2.0", "redis==8.1.0"), (3, 12)),
        NOTHING,
    ),
    Peer(
        "faststream",
        "FastStream + aiohttp",
        "faststream_peer",
        FASTSTREAM,
        f"{NOTHING}; no takeover unless asked for",
    ),
    Peer(
        "faststream-batch",
        "FastStream, batches, + aiohttp",
        "faststream_peer",
        FASTSTREAM,
        f"{NOTHING}; a batch waits for its slowest, and is repeated whole",
        "work_batched",
    ),
    Peer("saq", "SAQ + aiohttp", "saq_peer", Environment("saq", ("saq[redis]==0.26.4",)), NOTHING),
    Peer(
        "taskiq",
        "taskiq + aiohttp",
        "taskiq_peer",
        Environment("taskiq", ("taskiq==0.13.0", "taskiq-redis==1.2.4")),
        f"{NOTHING}; takes over only when something new comes",
    ),
    Peer("arq", "arq + aiohttp", "arq_peer", Environment("arq", ("arq==0.28.0",)), NOTHING),
    Peer(
        "streaq",
        "streaQ + aiohttp",
        "streaq_peer",
        Environment("streaq", ("streaq==7.2.0", "redis==8.1.0")),
        NOTHING,
    ),
)


def run(effort: Effort) -> Finding:
    """Measure all whose environment can be made."""
    contenders, absent = [OURS], list[str]()
    labels = {contender.name: contender.label for contender in (OURS, FLOOR, BARE)}
    count = round((effort.warm_up + effort.seconds + STARTS) * RATE)
    for peer in PEERS:
        try:
            contenders.append(_contender(peer, peer.environment.make(), count))
        except RuntimeError as error:
            absent.append(f"{peer.label} was not measured: {error}.")
            say(f"  {absent[-1]}")
        labels[peer.name] = peer.label
    with Stage() as stage:
        readings = in_turns(stage, [*contenders, FLOOR, BARE], effort)
    ours = [reading.worker_us for reading in readings[OURS.name]]
    lacks = {peer.name: peer.lacks for peer in PEERS}
    rows = [
        (
            labels[name],
            Spread.of([reading.worker_us for reading in those]).text(),
            ratios([reading.worker_us for reading in those], ours).text(2),
            Spread.of([reading.rate for reading in those]).text(),
            Spread.of([reading.redis_us for reading in those]).text(),
            lacks.get(name, "" if name == OURS.name else "no queue at all"),
        )
        for name, those in readings.items()
    ]
    header = (
        "",
        "CPU of the worker, us",
        "x otpreport",
        "reports/s",
        "CPU of Redis, us",
        "what it does not do",
    )
    return Finding(TITLE, header, rows, " ".join([NOTE, disturbance(readings), *absent]), plain(readings))


def _contender(peer: Peer, python: str, count: int) -> Contender:
    recorded = record(peer, python, count)

    def start(stage: Stage) -> Process:
        return work(peer, python, stage)

    def feed(stage: Stage) -> AbstractContextManager[object]:
        return Playback(stage.valkey.port, recorded, RATE)

    feeding: Callable[[Stage], AbstractContextManager[object]] = feed
    return Contender(peer.name, peer.label, start, feed=feeding)


def work(peer: Peer, python: str, stage: Stage) -> Process:
    """Start a peer's worker."""
    return _process(peer, python, peer.role, stage.folder, stage.valkey.url, stage.simulator.url)


def record(peer: Peer, python: str, count: int) -> list[bytes]:
    """Let the peer's producer enqueue events into a Redis of their own, and return what it wrote for each."""
    say(f"  recording {count} events of {peer.label}")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        options = {"appendfsync": "everysec", "auto-aof-rewrite-percentage": "0"}
        with EmbeddedValkey(folder / "valkey", options=options) as valkey:
            producer = _process(peer, python, "produce", folder, valkey.url, "http://127.0.0.1:1", str(count))
            status = producer.wait(300.0)
            if status:
                raise RuntimeError(f"its producer ended with status {status}: {producer.tail}")
        return pieces(append_only_file(folder / "valkey"))


def _process(
    peer: Peer, python: str, role: str, folder: Path, redis: str, endpoint: str, *count: str
) -> Process:
    return Process(
        ["-m", "benchmarks.peers", peer.module, role, *count],
        {"BENCHMARK_REDIS": redis, "BENCHMARK_ENDPOINT": endpoint},
        folder / f"{peer.name}-{role}.log",
        python=python,
    )
