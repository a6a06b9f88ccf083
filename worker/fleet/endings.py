"""What is told before dead letters are removed."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.fleet.snapshot import AccountSnapshot
from worker.fleet.wording import count, span

NEARLY = 0.9
"""The share of what is kept from which on it is told."""

WHAT = {"count": "as many as are kept (DEAD_KEEP_COUNT)", "memory": "its part of Redis' memory"}


def endings(account: AccountSnapshot) -> Iterator[str]:
    """Yield which of an account's dead letters are about to be removed, and why."""
    kept = account.kept
    if kept.ending:
        letters = count(kept.ending, "dead letter")
        age, soon = span(kept.age_ms / 1000), span(kept.soon)
        yield f"{letters} of {account.name} get older than {age} within {soon} and are removed"
    for bound, share in account.kept_shares.items():
        if share >= NEARLY:
            yield f"the dead letters of {account.name} are {share:.0%} of {WHAT[bound]}: at 100% the oldest are removed"
