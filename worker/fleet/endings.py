"""Warnings before dead letters are removed."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.fleet.snapshot import AccountSnapshot
from worker.fleet.wording import count, span

WARN_FROM = 0.9
"""The share of a limit from which a warning is given."""

LIMITS = {"count": "the number kept (DEAD_KEEP_COUNT)", "memory": "their share of Redis' memory"}


def endings(account: AccountSnapshot) -> Iterator[str]:
    """Yield which of an account's dead letters are about to be removed, and why."""
    kept = account.kept
    if kept.ending:
        letters = count(kept.ending, "dead letter")
        age, soon = span(kept.age_ms / 1000), span(kept.soon)
        yield f"{letters} of {account.name} reach the maximum age of {age} within {soon} and will be removed"
    for bound, share in account.kept_shares.items():
        if share >= WARN_FROM:
            text = f"the dead letters of {account.name} are {share:.0%} of {LIMITS[bound]}"
            yield f"{text}: at 100% the oldest are removed"
