"""Account for every event: compare what was enqueued, Redis' books and the provider's ledger."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from otpreport import Verification


@dataclass(frozen=True, slots=True)
class Arrival:
    """One line of the provider's ledger: `at` is UNIX seconds."""

    provider: str
    message_id: str
    verified: bool
    taken: bool
    signed: bool
    at: float


@dataclass(frozen=True, slots=True)
class AccountResult:
    """An account's line in the final table; times in seconds from verified to reported."""

    account: str
    enqueued: int
    delivered: int
    duplicates: int
    skipped: int
    dead: int
    retried: int
    in_doubt: int
    worst_second: int
    limit: int
    p50: float
    p99: float


@dataclass(slots=True)
class Evidence:
    """Everything the audit looks at, per account."""

    enqueued: Mapping[str, Sequence[Verification]]
    books: Mapping[str, Mapping[str, int]]
    pending: Mapping[str, int]
    dead_ids: Mapping[str, Sequence[str]]
    in_doubt: Mapping[str, int]
    retried: Mapping[str, int]
    arrivals: Mapping[str, Sequence[Arrival]]
    worst_second: Mapping[str, int]
    limits: Mapping[str, int]
    skips: frozenset[str] = field(default_factory=frozenset)
    """Accounts whose provider takes no reports about codes that were not entered."""


def audit(evidence: Evidence) -> tuple[list[AccountResult], list[str]]:
    """Return the table and every discrepancy, in words."""
    rows = [_row(evidence, account) for account in evidence.enqueued]
    faults = [fault for row in rows for fault in _faults(evidence, row)]
    return rows, faults


def _row(evidence: Evidence, account: str) -> AccountResult:
    books = evidence.books[account]
    p50, p99 = _latencies(evidence.enqueued[account], evidence.arrivals[account])
    return AccountResult(
        account=account,
        enqueued=len(evidence.enqueued[account]),
        delivered=books.get("delivered", 0),
        duplicates=books.get("duplicate", 0),
        skipped=books.get("skipped", 0),
        dead=len(evidence.dead_ids[account]),
        retried=evidence.retried[account],
        in_doubt=evidence.in_doubt[account],
        worst_second=evidence.worst_second[account],
        limit=evidence.limits[account],
        p50=p50,
        p99=p99,
    )


def _latencies(events: Iterable[Verification], arrivals: Iterable[Arrival]) -> tuple[float, float]:
    """Return p50 and p99 of the time from `occurred_at` to the first report that was taken."""
    taken: dict[str, float] = {}
    for arrival in arrivals:
        if arrival.taken:
            taken.setdefault(arrival.message_id, arrival.at)
    waits = sorted(
        taken[event.message_id] - event.occurred_at.timestamp()
        for event in events
        if event.message_id in taken
    )
    if len(waits) < 2:
        return (waits or [0.0])[0], (waits or [0.0])[-1]
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    return cuts[49], cuts[98]


def _faults(evidence: Evidence, row: AccountResult) -> list[str]:
    checks = (_books_balance, _ledger_agrees, _nothing_unexplained, _limit_held)
    return [f"{row.account}: {fault}" for check in checks for fault in check(evidence, row)]


def _books_balance(evidence: Evidence, row: AccountResult) -> Iterable[str]:
    taken = evidence.books[row.account].get("taken", 0)
    ended = row.delivered + row.duplicates + row.skipped + row.dead
    if taken != row.enqueued:
        yield f"{row.enqueued} events were enqueued, workers took {taken}"
    if pending := evidence.pending[row.account]:
        yield f"{pending} events are unfinished"
    elif ended != taken:
        yield f"{taken} events were taken, {ended} are accounted for"


def _ledger_agrees(evidence: Evidence, row: AccountResult) -> Iterable[str]:
    """Every event to report was accepted by the provider, or is a dead letter."""
    taken = {arrival.message_id for arrival in evidence.arrivals[row.account] if arrival.taken}
    skips = row.account in evidence.skips
    due = {event.message_id for event in evidence.enqueued[row.account] if event.verified or not skips}
    missing = due - taken - set(evidence.dead_ids[row.account])
    if missing:
        yield f"{len(missing)} events never reached the provider, for example {min(missing)}"
    if unknown := taken - due:
        yield f"{len(unknown)} accepted reports were never enqueued, for example {min(unknown)}"
    if row.delivered > len(taken):
        yield f"{row.delivered} events count as delivered, the provider accepted {len(taken)}"


def _nothing_unexplained(evidence: Evidence, row: AccountResult) -> Iterable[str]:
    """Each report accepted twice needs a lost answer; every signature must be valid."""
    arrivals = evidence.arrivals[row.account]
    times = Counter((arrival.message_id, arrival.verified) for arrival in arrivals if arrival.taken)
    twice = sum(count - 1 for count in times.values())
    if twice > row.in_doubt:
        yield f"{twice} reports were accepted twice, but only {row.in_doubt} answers were lost"
    if forged := sum(not arrival.signed for arrival in arrivals):
        yield f"{forged} requests had a wrong signature"


def _limit_held(_: Evidence, row: AccountResult) -> Iterable[str]:
    if row.worst_second > row.limit:
        yield f"{row.worst_second} requests arrived within one second; the limit is {row.limit}"


def by_account(arrivals: Iterable[Arrival], accounts: Mapping[str, str]) -> dict[str, list[Arrival]]:
    """Sort the ledger by account; `accounts` maps each to its provider."""
    sorted_: dict[str, list[Arrival]] = defaultdict(list)
    names = {provider: account for account, provider in accounts.items()}
    for arrival in arrivals:
        sorted_[names[arrival.provider]].append(arrival)
    return {account: sorted_[account] for account in accounts}
