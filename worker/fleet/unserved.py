"""Unserved queues: of accounts that are not configured, for example because of a typo."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tasks.fleet.pulse import WorkerSeen
from tasks.fleet.snapshot import Snapshot
from tasks.keyspace import Queues


def serves(workers: Iterable[WorkerSeen], now_ms: int) -> Callable[[str], bool]:
    """Return what tells whether a live worker serves an account; one that does not say serves all, as far as known.

    Without a live worker the answer is yes: that there is none is told elsewhere.
    """
    live = [worker.serves for worker in workers if worker.alive(now_ms)]
    if not live or None in live:
        return lambda _: True
    served = {account for accounts in live for account in accounts or ()}
    return served.__contains__


def unserved(snapshot: Snapshot, queues: Queues) -> Queues:
    """Return the unserved queues, including events of their accounts that wait for a retry."""
    scheduled = {account.name: account.scheduled for account in snapshot.unconfigured if account.scheduled}
    return queues.with_more(scheduled)
