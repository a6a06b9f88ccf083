"""Why a rate is low: an operator's word or the provider's throttling, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.fleet.snapshot import AccountSnapshot
from worker.fleet.wording import moment, number

SERIOUS = 0.5
"""The share of its rate below which a throttled group needs attention: short dips are usual."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """One reason why accounts of a rate group go slower than their settings say; `account` is one of them."""

    account: str
    text: str
    by_operator: bool
    serious: bool


@dataclass(frozen=True, slots=True)
class Rated:
    """A configured account with its group and the rate of its settings, requests/s."""

    seen: AccountSnapshot
    group: str
    configured: float


def lowered(accounts: Iterable[Rated]) -> Iterator[Lowered]:
    """Yield each reason once for each group."""
    groups: dict[str, list[Rated]] = {}
    for account in accounts:
        groups.setdefault(account.group, []).append(account)
    for members in groups.values():
        names = ", ".join(member.seen.name for member in members)
        yield from _of_group(members[0], names)


def _of_group(account: Rated, names: str) -> Iterator[Lowered]:
    seen, rate = account.seen, account.seen.rate
    most = rate.most(account.configured)
    if most < account.configured:
        by = f" by {rate.override_by}" if rate.override_by else ""
        since = f" since {moment(rate.override_ms)} UTC" if rate.override_ms is not None else ""
        why = f": {rate.override_why}" if rate.override_why else ""
        text = f"{names} limited to {number(most)} of {number(account.configured)} requests/s{by}{since}{why}"
        yield Lowered(seen.name, text, by_operator=True, serious=True)
    effective = rate.effective(account.configured, (seen.now_ms + 1) / 1000)
    if effective < most:
        since = f" since {moment(rate.throttled_ms)} UTC" if rate.throttled_ms is not None else ""
        last = f"last at {moment(round(rate.lowered_at * 1000))[11:]}"
        text = f"{names} at {number(effective)} of {number(most)} requests/s: the provider throttles{since}, {last}"
        yield Lowered(seen.name, text, by_operator=False, serious=effective < SERIOUS * most)
