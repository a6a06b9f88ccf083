"""Events that nobody serves: in queues of accounts that are not configured, a misspelt one for example."""

from __future__ import annotations

from collections.abc import Container

from tasks.keyspace import Queues
from tasks.snapshot import Snapshot


def unserved(snapshot: Snapshot, queues: Queues, configured: Container[str]) -> dict[str, int]:
    """Return how many events wait for each account that is not configured."""
    waiting = {name: length for name, length in queues.lengths.items() if name not in configured}
    for account in snapshot.strangers:
        if account.scheduled:
            waiting[account.name] = waiting.get(account.name, 0) + account.scheduled
    return dict(sorted(waiting.items()))
