"""How many workers the accounts' work needs: what an autoscaler goes by.

A worker that waits for the rate limit does no work, so the length of the queue alone is the wrong signal: at
1000/s a million events take 17 minutes with any number of workers. What counts is how many reports a second can
be sent now, which is never more than the limits allow, and what one worker can send.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks.accounts.states import WAITING
from tasks.fleet.snapshot import TAKEN, AccountSnapshot, Snapshot
from tasks.limiter.admission import RateGroup

DRAIN = 30.0
"""Seconds within which a backlog should be worked off, if the rate limit allows it."""

SMOOTHING = 15.0
"""Seconds over which arrivals and in-flight events are averaged."""

SLOWEST = 2.0
"""Upper bound in seconds of an event's assumed handling time: with a slower provider more workers do harm."""

MIN_INTERVAL = 0.5
"""Minimum seconds between two measurements; a shorter span is too noisy."""

ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Work:
    """One account's work: its events that can go, the new ones and those begun per second, those under way."""

    group: str
    rate: float
    ready: float
    arriving: float
    beginning: float
    leased: float

    @property
    def demand(self) -> float:
        """Reports/s that would keep up and have the backlog gone in time."""
        return self.arriving + (self.ready + self.leased) / DRAIN

    @property
    def held(self) -> float:
        """Seconds for which a worker holds an event."""
        if self.leased < ROUNDING:
            return 0.0
        return min(SLOWEST, self.leased / self.beginning) if self.beginning > 0 else SLOWEST


def workers_needed(work: Iterable[Work], *, pace: float, concurrency: int) -> int:
    """Return how many workers can be kept busy, at least 1.

    One does `pace` reports/s, and `concurrency` at a time; a rate group never gets more than its rate.
    """
    groups: dict[str, list[Work]] = {}
    for item in work:
        groups.setdefault(item.group, []).append(item)
    reports = sum(_sent(group) for group in groups.values())
    slots = sum(_slots(group) for group in groups.values())
    return max(1, _whole(reports / pace), _whole(slots / concurrency))


def _sent(group: list[Work]) -> float:
    return min(max(item.rate for item in group), sum(item.demand for item in group))


def _slots(group: list[Work]) -> float:
    """Return how many events are under way at once when the group sends all it may."""
    demand = sum(item.demand for item in group)
    share = _sent(group) / demand if demand else 0.0
    return share * sum(item.demand * item.held for item in group)


def _whole(workers: float) -> int:
    return math.ceil(workers - ROUNDING)


@dataclass(slots=True)
class _Seen:
    """The counts of an account at the last measurement, and their averages per second."""

    at: float
    arrived: int
    begun: int
    leased: float
    arriving: float | None = None
    beginning: float = 0.0

    def update(self, now: float, account: AccountSnapshot) -> None:
        """Update the averages; counts that fell, as in an emptied Redis, start again."""
        passed = now - self.at
        if passed < MIN_INTERVAL:
            return
        arrived, begun = _arrived(account), _begun(account)
        new = 1.0 if self.arriving is None else -math.expm1(-passed / SMOOTHING)
        before = self.arriving or 0.0
        self.arriving = before + new * (max(0, arrived - self.arrived) / passed - before)
        self.beginning += new * (max(0, begun - self.begun) / passed - self.beginning)
        self.leased += new * (account.leased - self.leased)
        self.at, self.arrived, self.begun = now, arrived, begun


def _begun(account: AccountSnapshot) -> int:
    return account.booked.get(TAKEN, 0)


def _arrived(account: AccountSnapshot) -> int:
    return _begun(account) + account.ready


class Workforce:
    """Follow the fleet from snapshot to snapshot, and say how many workers it needs."""

    def __init__(self, groups: Mapping[str, RateGroup], *, concurrency: int, pace: float) -> None:
        self._groups = groups
        self._concurrency = concurrency
        self._pace = pace
        self._seen: dict[str, _Seen] = {}

    def needed(self, snapshot: Snapshot) -> int | None:
        """Return the number of workers for backlog and arrivals, at least 1; None before the second measurement."""
        now = snapshot.now_us / 1e6
        accounts = [account for account in snapshot.configured if account.name in self._groups]
        for account in accounts:
            self._look(now, account)
        if any(self._seen[account.name].arriving is None for account in accounts):
            return None
        able = (account for account in accounts if account.state.name not in WAITING)
        work = [self._work(account) for account in able]
        return workers_needed(work, pace=self._pace, concurrency=self._concurrency)

    def _look(self, now: float, account: AccountSnapshot) -> None:
        seen = self._seen.get(account.name)
        if seen is None:
            counts = _arrived(account), _begun(account)
            self._seen[account.name] = _Seen(now, *counts, account.leased)
        else:
            seen.update(now, account)

    def _work(self, account: AccountSnapshot) -> Work:
        group, seen = self._groups[account.name], self._seen[account.name]
        return Work(
            group=group.name,
            rate=account.effective_rate(group.limit),
            ready=account.ready,
            arriving=seen.arriving or 0.0,
            beginning=seen.beginning,
            leased=seen.leased,
        )
