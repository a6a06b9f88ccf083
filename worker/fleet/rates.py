"""Why a rate is low: an operator's word, the provider's throttling, or the limit of requests in flight."""

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
    in_flight: bool = False


@dataclass(frozen=True, slots=True)
class Rated:
    """A configured account with its group, and the rate (requests/s) of its settings."""

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
        yield from _in_flight(members, names)


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


def _in_flight(members: list[Rated], names: str) -> Iterator[Lowered]:
    """Yield that the group's requests in flight are at their limit, or that none may begin yet."""
    first = members[0].seen
    found = first.in_flight
    if found is None or found.most is None:
        return
    seconds = (found.from_ms - first.now_ms) / 1000
    if seconds > 0:
        why = "Redis started anew, or MAX_IN_FLIGHT is new: older requests may be open"
        text = f"{names} sends nothing for {seconds:.0f} s more: {why}"
        yield Lowered(first.name, text, by_operator=False, serious=False, in_flight=True)
    elif found.open >= found.most and any(member.seen.ready for member in members):
        text = f"{names} has {number(found.open)} of {number(found.most)} requests in flight (MAX_IN_FLIGHT)"
        yield Lowered(first.name, text, by_operator=False, serious=False, in_flight=True)
