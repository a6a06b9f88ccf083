"""Whether this worker gets out to its accounts' providers, and what it takes of those where it alone does not."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tasks.accounts.states import FLOWING, State
from tasks.queue.breaker import CallBuckets

TRIES = 3
"""Calls in a row that never left, while others have answers, before a worker leaves an account to them."""

FIRST, LONGEST = 5.0, 30.0
"""Seconds from one try to the next of an account that is left to the others; they double."""

NOT_READY_AFTER = 30.0
"""Seconds that nothing gets out, while others have answers, before a worker is not ready."""


@dataclass(slots=True)
class Route:
    """The way out to one account's provider: what failed in a row, since when (monotonic), and whether here alone."""

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
    """Learn from what became of this worker's calls; all times are seconds of the local monotonic clock."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._answered = -math.inf

    def learn(self, buckets: CallBuckets, alone: Collection[str], now: float) -> list[str]:
        """Take in calls that ended; `alone`: accounts where others have answers. Return what is now left to them."""
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
        """Return whether the account is to be left to the others from now on."""
        if answered:
            self._answered = now
            self._routes.pop(account, None)
        if answered or not unsent:
            return False
        route = self._routes.setdefault(account, Route(since=now))
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
        """Leave no account to others that is held for all: its probes go round."""
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

    def aside(self) -> Iterator[tuple[str, Route]]:
        """Yield the accounts that are left to the others, and why."""
        return ((account, route) for account, route in self._routes.items() if route.aside)

    def fault(self, now: float) -> str | None:
        """Say what keeps this worker from being ready: nothing has got out for long, and others have answers."""
        since = min((route.since for _, route in self.aside()), default=math.inf)
        if now - since < NOT_READY_AFTER or self._answered > since:
            return None
        message = next(route.message for _, route in self.aside())
        return f"nothing gets out for {now - since:.0f} s while other workers have answers: {message}"
