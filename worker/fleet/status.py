"""The status of the fleet: counts, workers, paces, and recent errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from config.settings import Settings
from otpreport.place import place
from tasks.fleet.epoch import Memory
from tasks.fleet.faults import faults
from tasks.fleet.pulse import AccountPulse, PulseReader, WorkerSeen
from tasks.fleet.snapshot import AccountSnapshot, Snapshot, SnapshotReader
from tasks.keys import Keys
from tasks.keyspace import Queues
from tasks.settlement import Ending
from worker.fleet.pace import Pace
from worker.fleet.rates import Rated
from worker.fleet.unserved import serves, unserved

if TYPE_CHECKING:
    from redis import Redis


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account; rates are requests a second, None where the account is not configured or was looked at once."""

    seen: AccountSnapshot
    pulse: AccountPulse
    rate_configured: float | None
    rate_group: str | None
    delivered_per_second: float | None
    trail: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The account's name."""
        return self.seen.name

    @property
    def delivered(self) -> int:
        """How many of its events were delivered since the books began."""
        return self.seen.booked.get(Ending.DELIVERED, 0)

    @property
    def rate_effective(self) -> float | None:
        """The rate of the account's group at this moment."""
        return None if self.rate_configured is None else self.seen.effective_rate(self.rate_configured)

    @property
    def throttled(self) -> bool:
        """Whether the provider's throttling keeps its group below what it may do."""
        if self.rate_configured is None:
            return False
        rate = self.seen.rate
        return rate.effective(self.rate_configured, (self.seen.now_ms + 1) / 1000) < rate.most(
            self.rate_configured
        )

    @property
    def rate_use(self) -> float | None:
        """The share of its effective rate that the account delivers."""
        if self.delivered_per_second is None or not self.rate_effective:
            return None
        return self.delivered_per_second / self.rate_effective

    @property
    def rated(self) -> Rated | None:
        """The account with its rate; None where it is not configured."""
        if self.rate_configured is None or self.rate_group is None:
            return None
        return Rated(self.seen, self.rate_group, self.rate_configured)

    @property
    def matters(self) -> bool:
        """Whether it is configured, or has events all the same."""
        return bool(self.seen.configured or self.seen.waiting or self.seen.leased or self.seen.dead)


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The whole fleet at one moment of Redis' clock; `redis` is where it is, without its password."""

    redis: str
    snapshot: Snapshot
    accounts: tuple[AccountStatus, ...]
    workers: tuple[WorkerSeen, ...]
    unserved: Queues
    memory: Memory = Memory()  # noqa: RUF009 - frozen
    differences: Mapping[str, str] = field(default_factory=dict[str, str])
    faults: tuple[str, ...] = ()
    """What keeps events from being moved: that Redis refuses to write, keys that can't be used."""

    @property
    def now_ms(self) -> int:
        """When this was seen."""
        return self.snapshot.now_us // 1000

    @property
    def unattended(self) -> tuple[AccountStatus, ...]:
        """The configured accounts that no live worker serves."""
        served = serves(self.workers, self.now_ms)
        return tuple(a for a in self.accounts if a.seen.configured and not served(a.name))

    @property
    def silent(self) -> int:
        """How many of the live workers have sent no heartbeat for so long that they may be dead."""
        return sum(worker.silence(self.now_ms) > 0 for worker in self.workers)

    @property
    def gone(self) -> tuple[WorkerSeen, ...]:
        """Workers whose lease ran out and whose events are not recovered yet."""
        return tuple(worker for worker in self.workers if not worker.alive(self.now_ms))


class FleetReader:
    """Reads the fleet repeatedly, which yields its paces; `redis` is the address without the password."""

    def __init__(self, client: Redis, settings: Settings) -> None:
        keys = Keys(settings.key_prefix)
        groups = {account.name: account.rate_group for account in settings.accounts.values()}
        self._client = client
        self._settings = settings
        self.redis = place(settings.redis_url.get_secret_value())
        self._snapshots = SnapshotReader(client, keys, groups)
        self._pulses = PulseReader(client, keys)
        self._pace = Pace()

    def read(self, queues: Queues | None = None) -> FleetStatus:
        """Return the fleet as it is now; redis.RedisError when Redis is away."""
        snapshot = self._snapshots.read()
        pulse = self._pulses.read([account.name for account in snapshot.accounts])
        booked = {account.name: account.booked.get(Ending.DELIVERED, 0) for account in snapshot.accounts}
        self._pace.observe(snapshot.now_us, booked)
        return FleetStatus(
            redis=self.redis,
            snapshot=snapshot,
            accounts=tuple(self._account(seen, pulse.of(seen.name)) for seen in snapshot.accounts),
            workers=pulse.workers,
            unserved=unserved(snapshot, queues or Queues()),
            memory=pulse.memory,
            differences=pulse.differences,
            faults=faults(self._client, snapshot, pulse),
        )

    def _account(self, seen: AccountSnapshot, pulse: AccountPulse) -> AccountStatus:
        account = self._settings.accounts.get(seen.name)
        return AccountStatus(
            seen,
            pulse,
            rate_configured=account.rate_limit if account else None,
            rate_group=account.rate_group if account else None,
            delivered_per_second=self._pace.of(seen.name),
            trail=self._pace.trail(seen.name),
        )
