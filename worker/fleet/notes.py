"""What needs an operator's attention, in sentences."""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.accounts.states import FLOWING, OPERATOR_STATES, PROBED_STATES
from tasks.fleet.pulse import WorkerSeen
from worker.fleet.conversion import sentence, troubles_of
from worker.fleet.endings import endings
from worker.fleet.rates import lowered
from worker.fleet.status import AccountStatus, FleetStatus
from worker.fleet.wording import count, keeps_going, number, plain, span, waiting, why_not_running

MOST_CLOCKS = 3
"""Workers whose clocks are named."""


class Severity(enum.StrEnum):
    """How much a note matters: a fault, a warning, or information."""

    BAD = "bad"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence without terminal control characters."""

    level: Severity
    text: str


def notes(fleet: FleetStatus) -> list[Note]:
    """Return the notes, worst first."""
    found = [
        *(Note(Severity.BAD, plain(fault)) for fault in fleet.faults),
        *_memory(fleet),
        *_books(fleet),
        *_accounts(fleet),
        *_rates(fleet),
        *_unattended(fleet),
        *_workers(fleet),
        *_clocks(fleet),
        *_dead_letters(fleet),
        *_differences(fleet),
        *_versions(fleet),
        *_queues(fleet),
        *_shared_rates(fleet),
        *_otps(fleet),
    ]
    return sorted(found, key=lambda note: list(Severity).index(note.level))


def _memory(fleet: FleetStatus) -> Iterator[Note]:
    loss = fleet.memory.loss
    if loss is not None and loss.recent(fleet.now_ms):
        ago = span(max(0, fleet.now_ms - loss.at_ms) / 1000 // 1)
        yield Note(Severity.BAD, plain(f"{ago} ago {loss.text}"))


def _books(fleet: FleetStatus) -> Iterator[Note]:
    if fleet.snapshot.gap:
        text = f"{count(fleet.snapshot.gap, 'event')} unaccounted for: see `status --json`"
        yield Note(Severity.BAD, text)


def _accounts(fleet: FleetStatus) -> Iterator[Note]:
    for account in fleet.accounts:
        name = account.seen.state.name
        if account.seen.configured and name != "running":
            level = Severity.WARN if name in OPERATOR_STATES | FLOWING else Severity.BAD
            yield Note(
                level, plain(why_not_running(account.seen).rstrip(": ") + _probe(account, fleet.now_ms))
            )
        if account.seen.state.keep_going:
            yield Note(Severity.INFO, plain(keeps_going(account.seen)))


def _rates(fleet: FleetStatus) -> Iterator[Note]:
    for low in lowered(account.rated for account in fleet.accounts if account.rated is not None):
        yield Note(Severity.WARN if low.serious else Severity.INFO, plain(low.text))


def _unattended(fleet: FleetStatus) -> Iterator[Note]:
    for account in fleet.unattended:
        text = f"no live worker serves {account.name}: {waiting(account.seen.waiting)}"
        yield Note(Severity.BAD if account.seen.waiting else Severity.WARN, plain(text))


def _versions(fleet: FleetStatus) -> Iterator[Note]:
    live = Counter(
        worker.version or "an earlier one" for worker in fleet.workers if worker.alive(fleet.now_ms)
    )
    if len(live) > 1:
        found = ", ".join(f"{version} ({number(workers)})" for version, workers in sorted(live.items()))
        yield Note(Severity.INFO, plain(f"live workers run different versions: {found}"))


def _dead_letters(fleet: FleetStatus) -> Iterator[Note]:
    for account in fleet.accounts:
        for text in endings(account.seen):
            yield Note(Severity.WARN, plain(text))


def _probe(account: AccountStatus, now_ms: int) -> str:
    due_ms = account.pulse.probe_at_ms
    if due_ms is None or account.seen.state.name not in PROBED_STATES:
        return ""
    if account.seen.state.refused:
        return " (probing for one that is accepted)"
    seconds = (due_ms - now_ms) / 1000
    return f" (next probe in {seconds:.0f} s)" if seconds > 0.5 else " (probe due now)"


def _workers(fleet: FleetStatus) -> Iterator[Note]:
    if not fleet.snapshot.workers:
        backlog = any(account.seen.waiting for account in fleet.accounts)
        yield Note(Severity.BAD if backlog else Severity.WARN, "no worker is alive")
    for worker in fleet.gone:
        where = f" on {worker.host}" if worker.host else ""
        text = f"worker {worker.worker}{where} is gone, {count(worker.held, 'event')} to recover"
        yield Note(Severity.WARN, plain(text))
    for worker in fleet.workers:
        if worker.alive(fleet.now_ms):
            yield from (Note(Severity.WARN, plain(text)) for text in silence(worker, fleet.now_ms))
            yield from (Note(Severity.WARN, plain(text)) for text in troubles(worker))


def silence(worker: WorkerSeen, now_ms: int) -> Iterator[str]:
    """Yield that a worker whose lease runs may be dead."""
    if seconds := worker.silence(now_ms):
        left = span((worker.lease_end_ms - now_ms) / 1000)
        where = f" on {worker.host}" if worker.host else ""
        held = f", and its {count(worker.held, 'event')} wait until then" if worker.held else ""
        yield (
            f"worker {worker.worker}{where} has sent no heartbeat for {span(seconds)}: it may be dead, but counts"
            f" as alive until its lease ends in {left}{held}"
        )


def troubles(worker: WorkerSeen) -> Iterator[str]:
    """Yield what a live worker reports to be limiting it."""
    name = f"worker {worker.worker} on {worker.host}"
    for account, message in worker.aside.items():
        yield f"{name} leaves {account} to other workers, as it can't reach the provider: {message}"
    if worker.wanted is not None:
        requests = f"{worker.concurrency} concurrent requests instead of {worker.wanted}"
        yield f"{name} is limited by its open-files limit: {requests}"


def _clocks(fleet: FleetStatus) -> Iterator[Note]:
    off = [worker.clock_off for worker in fleet.workers if worker.alive(fleet.now_ms) and worker.clock_off]
    yield from (Note(Severity.WARN, plain(text)) for text in off[:MOST_CLOCKS])
    if len(off) > MOST_CLOCKS:
        more = f"so are the clocks of {len(off) - MOST_CLOCKS} more workers: is Redis' own clock wrong?"
        yield Note(Severity.WARN, more)


def _differences(fleet: FleetStatus) -> Iterator[Note]:
    for account, how in fleet.differences.items():
        yield Note(Severity.WARN, plain(f"live workers have different settings for {account}: {how}"))


def _queues(fleet: FleetStatus) -> Iterator[Note]:
    for name, events in fleet.unserved.named.items():
        yield Note(Severity.WARN, f"no worker serves {plain(name)}: {waiting(events)}")
    if more := fleet.unserved.more:
        text = f"{count(more, 'more queue')} without a worker: {waiting(fleet.unserved.more_events)}"
        yield Note(Severity.WARN, text)


def _shared_rates(fleet: FleetStatus) -> Iterator[Note]:
    """Yield the combined use of a rate group: each account alone may look idle."""
    groups: defaultdict[str, list[AccountStatus]] = defaultdict(list)
    for account in fleet.accounts:
        if account.rate_group is not None:
            groups[account.rate_group].append(account)
    for accounts in groups.values():
        paces = [account.delivered_per_second for account in accounts]
        rate = accounts[0].rate_effective
        if len(accounts) > 1 and rate and None not in paces:
            used = sum(pace or 0.0 for pace in paces)
            names = ", ".join(account.name for account in accounts)
            text = f"{names} share a rate of {number(rate)}/s: {number(used)}/s used, {used / rate:.0%}"
            yield Note(Severity.INFO, text)


def _otps(fleet: FleetStatus) -> Iterator[Note]:
    """Yield each tracked account's conversion rate, and what is wrong with its counts."""
    if gap := fleet.snapshot.otps_gap:
        yield Note(Severity.BAD, f"{count(gap, 'OTP')} unaccounted for: see `status --json`")
    for otps in fleet.snapshot.otps:
        yield from (Note(Severity.WARN, plain(text)) for text in troubles_of(otps))
        yield Note(Severity.INFO, plain(sentence(otps)))
