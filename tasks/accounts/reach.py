"""Whether this worker reaches its accounts' providers; an account that only this worker can't reach is set aside."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tasks.accounts.states import FLOWING, State
from tasks.queue.breaker import CallBuckets

TRIES = 3
"""Consecutive calls that could not be sent, while other workers get answers, before a worker sets an account aside."""

FIRST, LONGEST = 5.0, 30.0
"""Seconds between two tries of an account that is set aside: the first, and the most; they double."""

NOT_READY_AFTER = 30.0
"""Seconds without one answer, while other workers get answers, after which a worker is not ready."""


@dataclass(slots=True)
class RouteHealth:
    """The route to one account's provider: consecutive failures, since when (monotonic), and whether only here."""

    failed: int = 0
    since: float = math.inf
    message: str = ""
    alone: bool = False
    pause: float = FIRST
    next_try: float = 0.0
    trying: bool = False

    @property
    def aside(self) -> bool:
        """Whether the account is left to the others."""
        return self.alone and self.failed >= TRIES


class Reach:
    """Judge the routes by the results of this worker's calls; all times are seconds of the local monotonic clock."""

    def __init__(self) -> None:
        self._routes: dict[str, RouteHealth] = {}
        self._answered = -math.inf

    def learn(self, buckets: CallBuckets, alone: Collection[str], now: float) -> list[str]:
        """Count ended calls; `alone`: accounts for which other workers get answers. Return those newly set aside."""
        ended: dict[str, tuple[int, int, str]] = {}
        for (account, _, _), bucket in buckets.items():
            answered, unsent, message = ended.get(account, (0, 0, ""))
            ended[account] = answered + bucket.answered, unsent + bucket.unsent, bucket.message or message
        return [
            account
            for account, (answered, unsent, message) in ended.items()
            if self._learn(account, answered, unsent, message, alone=account in alone, now=now)
        ]

    def _learn(
        self, account: str, answered: int, unsent: int, message: str, *, alone: bool, now: float
    ) -> bool:
        """Return whether the account is newly set aside."""
        if answered:
            self._answered = now
            self._routes.pop(account, None)
        if answered or not unsent:
            return False
        route = self._routes.setdefault(account, RouteHealth(since=now))
        was_aside = route.aside
        route.failed, route.message, route.alone = route.failed + unsent, message, alone
        if not route.aside:
            return False
        if not was_aside:
            route.pause = FIRST
        elif route.trying:
            route.pause = min(LONGEST, 2 * route.pause)
        if route.trying or not was_aside:
            route.trying, route.next_try = False, now + route.pause
        return not was_aside

    def judge(self, states: Mapping[str, State]) -> None:
        """Take back accounts that are stopped or paused for all workers: any worker may send their probes."""
        for account, route in self._routes.items():
            if account in states and states[account].name not in FLOWING:
                route.alone = False

    def is_aside(self, account: str) -> bool:
        """Whether the account is left to the others."""
        return account in self._routes and self._routes[account].aside

    def tries(self, now: float) -> list[str]:
        """Return the accounts of which one event may be tried now; each comes once."""
        due = [account for account, route in self.aside() if now >= route.next_try]
        for account in due:
            route = self._routes[account]
            route.trying, route.next_try = True, now + route.pause
        return due

    def aside(self) -> Iterator[tuple[str, RouteHealth]]:
        """Yield the accounts that are set aside, and why."""
        return ((account, route) for account, route in self._routes.items() if route.aside)

    def fault(self, now: float) -> str | None:
        """Return why this worker is not ready: it has had no answer for too long, and other workers have."""
        since = min((route.since for _, route in self.aside()), default=math.inf)
        if now - since < NOT_READY_AFTER or self._answered > since:
            return None
        message = next(route.message for _, route in self.aside())
        return f"nothing gets out for {now - since:.0f} s while other workers have answers: {message}"
