"""Events that nobody serves: in queues of accounts that are not configured, a misspelt one for example."""

from __future__ import annotations

from tasks.fleet.snapshot import Snapshot
from tasks.keyspace import Queues


def unserved(snapshot: Snapshot, queues: Queues) -> Queues:
    """Return the queues that nobody serves, with what of their accounts waits for another attempt."""
    scheduled = {account.name: account.scheduled for account in snapshot.unconfigured if account.scheduled}
    return queues.with_more(scheduled)
