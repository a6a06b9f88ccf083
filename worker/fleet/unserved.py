"""Unserved queues: of accounts that are not configured, for example because of a typo."""

from __future__ import annotations

from tasks.fleet.snapshot import Snapshot
from tasks.keyspace import Queues


def unserved(snapshot: Snapshot, queues: Queues) -> Queues:
    """Return the unserved queues, including events of their accounts that wait for a retry."""
    scheduled = {account.name: account.scheduled for account in snapshot.unconfigured if account.scheduled}
    return queues.with_more(scheduled)
