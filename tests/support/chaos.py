"""Trials of the long fault suite: what was done to a fleet, what became of its events, and the table of all of them.

`python -m tests.support.chaos FILE` writes the rows of FILE into docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from pydantic import TypeAdapter

from tests.support.admin import OURS, admin
from tests.support.events import event_of
from tests.support.fleet import LONG, Audit, Fleet
from tests.support.wait import until
from tests.support.worker_process import ROOT, WorkerProcess

REPORT = "CHAOS_REPORT"
"""The environment variable that names the file of rows."""

DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

LEASE = 4.0
SETTINGS = {**LONG, "connect_timeout": 0.5, "read_timeout": 3.0, "lease": LEASE}
"""Leases that end soon, yet not because the machine is busy for a moment."""

CONNECTIONS = 4
"""Connections to Redis that a worker may have."""

GROWTH = 20.0
"""MB by which a worker may grow while it goes through a trial."""


@dataclass(frozen=True, slots=True)
class Row:
    """One trial of the table; `seconds` is the longest recovery, `memory` a worker's MB before and after."""

    fault: str
    times: int
    events: int
    lost: int
    again: int | None = None
    in_doubt: int | None = None
    dead: int = 0
    seconds: float | None = None
    memory: tuple[float, float] | None = None
    connections: float | None = None
    stock: bool = False


_ROW = TypeAdapter(Row)


def record(row: Row) -> None:
    """Print the row, and append it to the report where one is asked for."""
    line = json.dumps(asdict(row))
    print(line)
    if path := os.environ.get(REPORT):
        with Path(path).open("a", encoding="utf-8") as report:
            report.write(line + "\n")


def megabytes(pid: int) -> float:
    """Return a process' resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Trial:
    """Keep account of one fault: how often it was injected, what it left in doubt, how long recovery took."""

    def __init__(self, fleet: Fleet, fault: str) -> None:
        self._fleet = fleet
        self._fault = fault
        self._before: dict[int, float] = {}
        self.times = 0
        self.in_doubt: set[str] = set()
        self.seconds: list[float] = []

    def kill(self, worker: WorkerProcess) -> None:
        """End a worker as a crash would, and note how long it takes until others can have what it held."""
        worker.kill9()
        began = time.monotonic()
        self.died(worker)
        until(lambda: not self._fleet.redis.exists(f"otpreport:held:{worker.id}"), deadline=60)
        self.seconds.append(time.monotonic() - began)

    def died(self, worker: WorkerProcess) -> None:
        """Note what a worker holds that has just died: what of it was sent is in doubt."""
        client = admin(self._fleet.redis)
        tags: list[bytes] = list(client.smembers(f"otpreport:held:{worker.id}"))
        records = [client.hget(f"otpreport:taken:{tag.decode().partition(':')[0]}", tag) for tag in tags]
        # one that has no record by now was settled by the dead worker's last call, still on its way when it died
        raws = [record.split(b"\n", 2)[2] for record in records if record]
        self.in_doubt |= {event_of(raw).message_id for raw in raws}
        self.times += 1

    def watch(self, workers: Iterable[WorkerProcess]) -> None:
        """Note the memory of workers that are to live through the trial."""
        self._before = {worker.pid: megabytes(worker.pid) for worker in workers}

    def end(self, *, deadline: float = 120.0, dead: int = 0, strangers: int = 0) -> Audit:
        """Wait for the end of all events and of `strangers`, messages that are none; record the row, and judge it."""
        fleet = self._fleet
        fleet.wait_until_settled(deadline)
        self._find_doubts()
        audit, memory, connections = fleet.audit(), self._memory(), self._connections()
        books = audit.books.values()
        row = Row(
            fault=self._fault,
            times=self.times,
            events=len(fleet.sent) + strangers,
            lost=len(audit.lost),
            again=audit.twice.total(),
            in_doubt=len(self.in_doubt),
            dead=sum(account.dead for account in books),
            seconds=round(max(self.seconds), 1) if self.seconds else None,
            memory=memory,
            connections=connections,
        )
        record(row)
        assert not audit.faults, audit.faults
        assert sum(account.ended for account in books) == row.events
        assert row.dead == dead
        assert set(audit.twice) <= self.in_doubt, "something was sent again for no reason"
        assert connections <= CONNECTIONS
        assert memory is None or memory[1] - memory[0] < GROWTH
        self._check_leftovers()
        return audit

    def _find_doubts(self) -> None:
        """Add the attempts whose answers were lost, as the workers' logs have them."""
        attempts = (line for worker in self._fleet.workers for line in worker.lines("attempt"))
        self.in_doubt |= {line["message_id"] for line in attempts if line["result"] == "unknown"}

    def _memory(self) -> tuple[float, float] | None:
        """Return the memory of the worker that grew most."""
        grown = [(before, megabytes(pid)) for pid, before in self._before.items()]
        return max(grown, key=lambda pair: pair[1] - pair[0], default=None)

    def _connections(self) -> float:
        """Return how many connections a living worker has."""
        theirs = [one for one in admin(self._fleet.redis).client_list() if one["name"] != OURS]
        return round(len(theirs) / max(1, sum(worker.running for worker in self._fleet.workers)), 1)

    def _check_leftovers(self) -> None:
        """Nothing that belonged to a dead worker or to an event that ended stays in Redis."""
        client = admin(self._fleet.redis)
        living = sum(worker.running for worker in self._fleet.workers)
        until(lambda: client.zcard("otpreport:workers") <= living, deadline=5 * LEASE)
        assert not client.keys("otpreport:held:*")
        until(lambda: client.hlen("otpreport:claims") == 0, deadline=5 * LEASE)


def longest_silence(fleet: Fleet, since: float = 0.0) -> float:
    """Return the longest time between two arrivals at the provider, of those after `since` (UNIX seconds)."""
    times = sorted(row["unix"] for row in fleet.simulator.ledger() if row["unix"] >= since)
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


COLUMNS = (
    *("fault", "times", "events", "lost", "sent again", "in doubt", "seconds", "worker's MB"),
    *("connections", "stock Celery: lost"),
)
HEAD = (f"| {' | '.join(COLUMNS)} |", "|---" + 8 * "|---:" + "|---|")


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.1f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def table(rows: Sequence[Row]) -> str:
    """Return the table; of trials with one name the last one counts."""
    ours = {row.fault: row for row in rows if not row.stock}
    stock = {row.fault: row for row in rows if row.stock}
    lines = list(HEAD)
    for fault, row in ours.items():
        memory = f"{row.memory[0]:.0f} → {row.memory[1]:.0f}" if row.memory else None
        other = stock.get(fault)
        control = f"**{other.lost}** of {other.events:,} ({other.times} times)" if other else None
        figures = (
            row.times,
            row.events,
            row.lost,
            row.again,
            row.in_doubt,
            row.seconds,
            memory,
            row.connections,
        )
        lines.append(f"| {' | '.join([fault, *map(_cell, (*figures, control))])} |")
    return "\n".join(lines)


def read(path: Path) -> list[Row]:
    """Return the rows of a report."""
    return [_ROW.validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Put the table of a report between the markers of the document."""
    rows = read(Path(sys.argv[1]))
    text = DOCUMENT.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    DOCUMENT.write_text(f"{head}{BEGIN}\n{table(rows)}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
