"""The demo's audit: it finds every kind of disagreement, and none where there is none."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from otpreport import Verification
from worker.demo.audit import Arrival, Evidence, audit

VERIFIED_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def event(message_id: str, *, verified: bool = True) -> Verification:
    """Return an event of the one account."""
    return Verification(account="tencent", message_id=message_id, occurred_at=VERIFIED_AT, verified=verified)


def arrival(message_id: str, *, taken: bool = True, signed: bool = True, after: float = 0.5) -> Arrival:
    """Return a line of the provider's ledger, so many seconds after the code was verified."""
    return Arrival(
        provider="tencent",
        message_id=message_id,
        verified=True,
        taken=taken,
        signed=signed,
        at=VERIFIED_AT.timestamp() + after,
    )


GOOD = Evidence(
    enqueued={"tencent": [event("a"), event("b"), event("b"), event("c"), event("d", verified=False)]},
    books={"tencent": {"taken": 5, "delivered": 2, "duplicate": 1, "skipped": 1}},
    pending={"tencent": 0},
    dead_ids={"tencent": ["c"]},
    in_doubt={"tencent": 1},
    retried={"tencent": 1},
    arrivals={"tencent": [arrival("a"), arrival("b"), arrival("b", after=9.5), arrival("c", taken=False)]},
    worst_second={"tencent": 4},
    limits={"tencent": 1000},
    skips=frozenset({"tencent"}),
)


def test_what_is_accounted_for_has_no_fault() -> None:
    """Delivered, duplicate, skipped and dead make up what was enqueued; a lost answer explains a second report."""
    [row], faults = audit(GOOD)
    assert faults == []
    assert (row.enqueued, row.delivered, row.duplicates, row.skipped, row.dead) == (5, 2, 1, 1, 1)
    assert row.p50 == pytest.approx(0.5)


Change = Callable[[Evidence], Evidence]

BROKEN: dict[str, tuple[Change, str]] = {
    "an event never leased": (
        lambda good: replace(good, books={"tencent": {**good.books["tencent"], "taken": 4}}),
        "workers took 4",
    ),
    "an event without an end": (
        lambda good: replace(good, books={"tencent": {**good.books["tencent"], "duplicate": 0}}),
        "4 are accounted for",
    ),
    "an event on its way": (lambda good: replace(good, pending={"tencent": 1}), "are unfinished"),
    "a delivered event the provider never saw": (
        lambda good: replace(good, arrivals={"tencent": good.arrivals["tencent"][1:]}),
        "never reached the provider, for example a",
    ),
    "a report nobody asked for": (
        lambda good: replace(good, arrivals={"tencent": [*good.arrivals["tencent"], arrival("z")]}),
        "never enqueued, for example z",
    ),
    "a false event that was reported as true": (
        lambda good: replace(good, arrivals={"tencent": [*good.arrivals["tencent"], arrival("d")]}),
        "never enqueued, for example d",
    ),
    "a report sent twice without need": (
        lambda good: replace(good, in_doubt={"tencent": 0}),
        "only 0 answers were lost",
    ),
    "a wrong signature": (
        lambda good: replace(
            good, arrivals={"tencent": [*good.arrivals["tencent"], arrival("c", taken=False, signed=False)]}
        ),
        "1 requests had a wrong signature",
    ),
    "a second too full": (lambda good: replace(good, worst_second={"tencent": 1001}), "the limit is 1000"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_disagreement_is_found(name: str) -> None:
    """Each thing that can go wrong has its words."""
    change, words = BROKEN[name]
    _, faults = audit(change(GOOD))
    assert any(words in fault for fault in faults), faults
