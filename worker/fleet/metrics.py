"""The fleet's metrics, read from Redis; label values come from closed sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config.account import Account
from tasks.accounts.states import NAMES
from tasks.fleet.snapshot import AccountSnapshot, Snapshot
from tasks.keyspace import Queues
from tasks.retry import Reason
from worker.fleet.otp_metrics import otp_metrics
from worker.fleet.redis_memory import RedisMemory
from worker.fleet.unserved import unserved

LabelledValue = tuple[tuple[str, ...], float]


class FleetCollector(Collector):
    """Turn the last snapshot into metrics; without one only `redis_up 0`, never stale figures."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self.accounts = accounts
        self.snapshot: Snapshot | None = None
        self.queues: Queues | None = None
        self.memory: RedisMemory | None = None
        self.needed: int | None = None
        self.lost_at = 0.0
        self.differences: Container[str] = ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; runs in a thread, while the loop may replace the snapshot."""
        snapshot = self.snapshot
        text = "1 if the last query to Redis succeeded, else 0."
        yield _gauge("redis_up", text, float(snapshot is not None))
        if snapshot is None:
            return
        yield _gauge("workers", "Live workers: those that hold a lease.", snapshot.workers)
        if (needed := self.needed) is not None:
            text = "Workers that backlog, arrivals and rate limits can keep busy; scale on this."
            yield _gauge("desired_workers", text, needed)
        gap = "Accounting discrepancy: events found in no state or in two. Should be 0."
        yield _gauge("books_gap_events", gap, snapshot.gap)
        text = "When Redis was last found to have lost data (UNIX seconds); 0 never."
        yield _gauge("redis_lost_timestamp_seconds", text, self.lost_at)
        if (queues := self.queues) is not None:
            text = "Events in queues of accounts that are not configured, scanned every 30 s."
            yield _gauge("unserved_queue_events", text, unserved(snapshot, queues).events)
        if (memory := self.memory) is not None:
            text = "Memory used by Redis, and its limit: maxmemory, or the machine's memory."
            rows = (("used",), memory.used), (("limit",), memory.limit)
            yield _labelled("redis_memory_bytes", text, ("kind",), rows)
        accounts = tuple(snapshot.configured)
        yield from _events(accounts)
        yield from _dead_letters(accounts)
        yield from self._limits(accounts)
        yield from _states(accounts)
        text = "Accounting since Redis was empty: events taken, and their current place or outcome."
        yield _labelled("books_events", text, ("account", "place"), _books(accounts))
        yield from otp_metrics([account.otps for account in accounts if account.otps])

    def _limits(self, accounts: Sequence[AccountSnapshot]) -> Iterator[Metric]:
        text = "Rate limits: configured, allowed by an operator, and effective after throttling."
        yield _labelled("rate_limit_per_second", text, ("account", "kind"), self._rates(accounts))
        text = "Requests in flight of the rate group, with `MAX_IN_FLIGHT`: the limit, and those that may be open."
        yield _labelled("rate_group_requests", text, ("account", "kind"), _in_flight(accounts))
        text = "Rate group of the account, named after its first account."
        yield _labelled("rate_group_info", text, ("account", "group"), self._groups(accounts))
        text = "Age at which an event expires (`MAX_AGE`)."
        ages = _each(accounts, lambda account: self.accounts[account.name].max_age)
        yield _labelled("event_max_age_seconds", text, ("account",), ages)
        text = "1 while live workers differ in the account's provider, endpoint, rate, group, max_age or key."
        differences = _each(accounts, lambda account: float(account.name in self.differences))
        yield _labelled("settings_differ", text, ("account",), differences)

    def _rates(self, accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
        for account in accounts:
            configured = self.accounts[account.name].rate_limit
            yield (account.name, "configured"), configured
            yield (account.name, "allowed"), account.rate.most(configured)
            yield (account.name, "effective"), account.effective_rate(configured)

    def _groups(self, accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
        firsts: dict[str, str] = {}
        for account in accounts:
            first = firsts.setdefault(self.accounts[account.name].rate_group, account.name)
            yield (account.name, first), 1.0


def _events(accounts: Sequence[AccountSnapshot]) -> Iterator[Metric]:
    text = "Unfinished events: ready in the queue, leased by a worker, or scheduled for a retry or eta."
    yield _labelled("queue_events", text, ("account", "state"), _queue(accounts))
    text = "Age of the oldest waiting event since code entry; 0 if none waits."
    ages = _each(accounts, lambda account: account.oldest_age)
    yield _labelled("oldest_event_age_seconds", text, ("account",), ages)


def _dead_letters(accounts: Sequence[AccountSnapshot]) -> Iterator[Metric]:
    yield _labelled("dead_events", "Dead letters, by reason.", ("account", "reason"), _dead(accounts))
    text = "Approximate memory of the dead letters, from samples."
    yield _labelled("dead_bytes", text, ("account",), _each(accounts, lambda account: account.kept.bytes))
    text = "Dead letters relative to their limits by number and memory; at 1 the oldest are removed."
    yield _labelled("dead_kept_share_ratio", text, ("account", "bound"), _kept_shares(accounts))
    text = (
        "Dead letters that reach their maximum age and will be removed within three days or a tenth of "
        "`DEAD_KEEP_AGE`."
    )
    ending = _each(accounts, lambda account: account.kept.ending)
    yield _labelled("dead_ending_events", text, ("account",), ending)


def _in_flight(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        found = account.in_flight
        yield (account.name, "limit"), math.inf if found is None or found.most is None else found.most
        yield (account.name, "used"), found.open if found else 0


def _states(accounts: Sequence[AccountSnapshot]) -> Iterator[Metric]:
    text = "1 for the current state of the account, 0 for the others."
    yield _labelled("account_state", text, ("account", "state"), _each_state(accounts))
    text = "Consecutive refused events, while they stop the account; else 0."
    refused = _each(accounts, lambda account: account.state.refused)
    yield _labelled("refused_run_events", text, ("account",), refused)


def _each(
    accounts: Iterable[AccountSnapshot], figure: Callable[[AccountSnapshot], float]
) -> Iterator[LabelledValue]:
    for account in accounts:
        yield (account.name,), figure(account)


def _queue(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        yield (account.name, "ready"), account.ready
        yield (account.name, "leased"), account.leased
        yield (account.name, "scheduled"), account.scheduled


def _dead(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        for reason in Reason:
            yield (account.name, reason.value), account.dead_by_reason.get(reason.value, 0)


def _kept_shares(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        for bound in ("count", "memory"):
            yield (account.name, bound), account.kept_shares.get(bound, 0.0)


def _each_state(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        for state in NAMES:
            yield (account.name, state), float(state == account.state.name)


def _books(accounts: Iterable[AccountSnapshot]) -> Iterator[LabelledValue]:
    for account in accounts:
        for place, events in account.places.items():
            yield (account.name, place), events


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"otpreport_{name}", text, value)


def _labelled(name: str, text: str, labels: tuple[str, ...], rows: Iterable[LabelledValue]) -> Metric:
    family = GaugeMetricFamily(f"otpreport_{name}", text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family
