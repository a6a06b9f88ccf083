"""Looks at a fleet that never was, for what draws or describes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.accounts.states import State
from tasks.fleet.pulse import AccountPulse, WorkerSeen
from tasks.fleet.snapshot import AccountSnapshot, Snapshot
from tasks.keyspace import Queues
from tasks.limiter.rate import Rate
from worker.fleet.status import AccountStatus, FleetStatus

NOW_MS = 1_777_636_800_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What differs from a running account without events."""

    state: State = field(default_factory=State)
    configured: bool = True
    ready: int = 0
    dead: int = 0
    oldest_ms: int | None = None
    booked: Mapping[str, int] = field(default_factory=dict[str, int])
    rate: Rate = Rate()  # noqa: RUF009 - frozen


def account(
    name: str = "tencent",
    seen: Seen | None = None,
    *,
    pulse: AccountPulse | None = None,
    pace: float | None = None,
    group: str | None = None,
) -> AccountStatus:
    """Return an account of 1000 requests/s."""
    seen = seen or Seen()
    snapshot = AccountSnapshot(
        name=name,
        configured=seen.configured,
        now_ms=NOW_MS,
        ready=seen.ready,
        scheduled=0,
        records=0,
        dead=seen.dead,
        dead_by_reason={},
        booked=seen.booked,
        oldest_ms=seen.oldest_ms,
        state=seen.state,
        rate=seen.rate,
    )
    rate = 1000 if seen.configured else None
    trail = () if pace is None else (0.0, pace)
    return AccountStatus(snapshot, pulse or AccountPulse(), rate, group or name, pace, trail)


def worker(name: str = "3f9a1c77b2e0", *, lease: float = 30.0, silent: float = 0.0) -> WorkerSeen:
    """Return a worker whose lease runs so many seconds, and that last told of itself so long ago."""
    end_ms, seen_ms = NOW_MS + round(lease * 1000), NOW_MS - round(silent * 1000)
    return WorkerSeen(name, end_ms, 64, seen_ms, "otp-worker-1", 4711, 60, 400, NOW_MS - 9_300_000)


def look(
    *accounts: AccountStatus, workers: tuple[WorkerSeen, ...] = (), unserved: dict[str, int] | None = None
) -> FleetStatus:
    """Return a fleet."""
    alive = sum(each.alive(NOW_MS) for each in workers)
    snapshot = Snapshot(NOW_MS * 1000, alive, tuple(account.seen for account in accounts))
    return FleetStatus("redis://redis.example:6379/0", snapshot, accounts, workers, Queues(unserved or {}))
