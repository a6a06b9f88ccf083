"""Whether this worker gets out to its accounts' providers, and what it takes of those where it alone does not."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tasks.accounts.states import FLOWING, State
from tasks.queue.breaker import Groups

TRIES = 3
"""Calls in a row that never left, while others have answers, before a worker leaves an account to them."""

FIRST, LONGEST = 5.0, 30.0
"""Seconds from one try to the next of an account that is left to the others; they double."""

PATIENCE = 30.0
"""Seconds that nothing gets out, while others have answers, before a worker is not ready."""


@dataclass(slots=True)
class Way:
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
        self._ways: dict[str, Way] = {}
        self._answered = -math.inf

    def learn(self, groups: Groups, alone: Collection[str], now: float) -> list[str]:
        """Take in calls that ended; `alone`: accounts where others have answers. Return what is now left to them."""
        ended: dict[str, tuple[int, int, str]] = {}
        for (account, _, _), group in groups.items():
            answered, unsent, message = ended.get(account, (0, 0, ""))
            ended[account] = answered + group.answered, unsent + group.unsent, group.message or message
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
            self._ways.pop(account, None)
        if answered or not unsent:
            return False
        way = self._ways.setdefault(account, Way(since=now))
        was_aside = way.aside
        way.failed, way.message, way.alone = way.failed + unsent, message, alone
        if not way.aside:
            return False
        if not was_aside:
            way.pause = FIRST
        elif way.trying:
            way.pause = min(LONGEST, 2 * way.pause)
        if way.trying or not was_aside:
            way.trying, way.next_try = False, now + way.pause
        return not was_aside

    def judge(self, states: Mapping[str, State]) -> None:
        """Leave no account to others that is held for all: its probes go round."""
        for account, way in self._ways.items():
            if account in states and states[account].name not in FLOWING:
                way.alone = False

    def is_aside(self, account: str) -> bool:
        """Whether the account is left to the others."""
        return account in self._ways and self._ways[account].aside

    def tries(self, now: float) -> list[str]:
        """Return the accounts of which one event may be tried now; each comes once."""
        due = [account for account, way in self.aside() if now >= way.next_try]
        for account in due:
            way = self._ways[account]
            way.trying, way.next_try = True, now + way.pause
        return due

    def aside(self) -> Iterator[tuple[str, Way]]:
        """Yield the accounts that are left to the others, and why."""
        return ((account, way) for account, way in self._ways.items() if way.aside)

    def fault(self, now: float) -> str | None:
        """Say what keeps this worker from being ready: nothing has got out for long, and others have answers."""
        since = min((way.since for _, way in self.aside()), default=math.inf)
        if now - since < PATIENCE or self._answered > since:
            return None
        message = next(way.message for _, way in self.aside())
        return f"nothing gets out for {now - since:.0f} s while other workers have answers: {message}"
