"""Purge the queue of an account that no worker serves: its name was misspelt by a producer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otpreport.wire import NOTICES
from tasks.fleet.deployment import read_deployment
from tasks.fleet.pulse import PulseReader
from tasks.keyspace import redis_time_us
from tasks.queue.unserved import UnservedQueue
from worker.cli.errors import WRONG, CommandError
from worker.cli.moves import check_json, show_batches
from worker.cli.purging import ask_to_drop, say_purged
from worker.cli.screen import safe, screen, table
from worker.cli.session import Session, session
from worker.cli.who import read_reason, who
from worker.cli.written import SoFar, audited
from worker.fleet.wording import number


@dataclass(frozen=True, slots=True)
class Served:
    """Who may serve an account, and what an operator does instead, or first."""

    by: str
    fix: str = "`accounts pause --mode shed` drops what waits in the queue of a served account"


LATELY = Served(
    "workers of the last ten minutes have it in their settings",
    "if it was taken out of them, try again ten minutes after the last of these workers ended",
)


def purge_unserved(name: str, reason: str, by: str, *, yes: bool, as_json: bool) -> int:
    """Count what waits, ask, and drop as much; audited at start and end."""
    person, why = who(by), read_reason(reason)
    check_json(as_json=as_json, yes=yes)
    with session() as opened:
        queue = UnservedQueue(opened.client, opened.keys, name)
        _check_unserved(opened, name)
        lengths = queue.lengths()
        total = sum(lengths.values())
        if not as_json:
            _show(queue, lengths)
        if total and not yes:
            ask_to_drop(total, name)
        purged = _carry_out(opened, queue, name, lengths, why, person) if total else 0
    return say_purged(name, total, purged, as_json=as_json)


def _check_unserved(opened: Session, name: str) -> None:
    if served := _served(opened, name.removesuffix(NOTICES)):
        raise CommandError(
            WRONG, f"--unserved is for accounts that no worker serves, and {served.by}: {served.fix}"
        )


def _served(opened: Session, name: str) -> Served | None:
    """Return who may serve the account: this command's settings, a live worker, or workers that ran lately."""
    if name in opened.settings.accounts:
        return Served("it is in the settings here")
    now_ms = redis_time_us(opened.client) // 1000
    for worker in PulseReader(opened.client, opened.keys).read([]).workers:
        if worker.alive(now_ms) and (worker.serves is None or name in worker.serves):
            return Served(f"worker {worker.worker} on {worker.host} may serve it")
    if name in read_deployment(opened.client, opened.keys).accounts:
        return LATELY
    return None


def _show(queue: UnservedQueue, lengths: Mapping[str, int]) -> None:
    if not lengths:
        screen().print("nothing to purge")
        return
    rows = table("queue", "events", "oldest message id", "newest", right=("events",))
    for key, length in lengths.items():
        rows.add_row(safe(key), number(length), *map(safe, queue.ends(key)))
    screen().print(rows)


def _carry_out(
    opened: Session, queue: UnservedQueue, name: str, lengths: Mapping[str, int], reason: str, by: str
) -> int:
    """Drop as many as were counted; what came meanwhile stays, for its producer is still at work."""
    _check_unserved(opened, name)  # a worker may have been started while the operator decided
    total, so_far = sum(lengths.values()), SoFar()
    details = {"account": name, "events": total, "reason": reason or None}
    with audited(opened, "purge-unserved", "purged", so_far, of=total, by=by, **details):
        show_batches("purge", queue.drop(lengths), so_far, total)
    return so_far.moved
