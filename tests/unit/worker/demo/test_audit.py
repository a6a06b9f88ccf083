"""The demo's audit: cooked evidence, and each fault in it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from otpreport import Verification
from worker.demo.audit import Arrival, Evidence, audit, by_account

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
COUNT = 20


def arrival(number: int, *, taken: bool = True, verified: bool = True, account: str = "tencent") -> Arrival:
    """Return the arrival of an event, a tenth of a second after it occurred."""
    return Arrival(account, f"{account}-{number}", verified, taken, signed=True, at=NOON.timestamp() + 0.1)


def events(account: str = "tencent") -> list[Verification]:
    """Return the events of an account."""
    return [
        Verification(account=account, message_id=f"{account}-{n}", occurred_at=NOON, verified=n != 3)
        for n in range(COUNT)
    ]


def honest() -> Evidence:
    """Return the evidence of a run in which all went well: one skipped, one dead, one retried, one sent twice."""
    return Evidence(
        enqueued={"tencent": events()},
        books={"tencent": {"taken": COUNT, "delivered": COUNT - 2, "skipped": 1}},
        pending={"tencent": 0},
        dead_ids={"tencent": ["tencent-7"]},
        in_doubt={"tencent": 1},
        retried={"tencent": 2},
        arrivals={
            "tencent": [
                *(arrival(n) for n in range(COUNT) if n not in {3, 7}),
                arrival(7, taken=False),
                arrival(5),
            ]
        },
        worst_second={"tencent": 1000},
        limits={"tencent": 1000},
        skips=frozenset({"tencent"}),
    )


def test_all_well() -> None:
    """In honest evidence no fault is found, and the table says what happened."""
    (row,), faults = audit(honest())
    assert not faults
    assert (row.enqueued, row.delivered, row.skipped, row.dead, row.retried) == (COUNT, COUNT - 2, 1, 1, 2)
    assert (row.p50, row.p99) == pytest.approx((0.1, 0.1))


def dropped(evidence: Evidence) -> None:
    """Let a worker drop an event and say that it delivered it."""
    evidence.arrivals = {"tencent": [a for a in evidence.arrivals["tencent"] if a.message_id != "tencent-9"]}


def dropped_in_silence(evidence: Evidence) -> None:
    """Let a worker drop an event and say nothing."""
    dropped(evidence)
    evidence.books = {"tencent": {**evidence.books["tencent"], "delivered": COUNT - 3}}


def never_taken(evidence: Evidence) -> None:
    """Let an event vanish before a worker had it."""
    evidence.books = {"tencent": {**evidence.books["tencent"], "taken": COUNT - 1, "delivered": COUNT - 3}}


def still_waiting(evidence: Evidence) -> None:
    """Stop before the end."""
    evidence.pending = {"tencent": 4}


def false_delivery(evidence: Evidence) -> None:
    """Count an event as delivered that died."""
    evidence.books = {"tencent": {**evidence.books["tencent"], "delivered": COUNT - 1}}


def stranger(evidence: Evidence) -> None:
    """Report an event that nobody enqueued."""
    evidence.arrivals = {"tencent": [*evidence.arrivals["tencent"], arrival(999)]}


def unspeakable(evidence: Evidence) -> None:
    """Report what the provider has no word for as if it were verified."""
    evidence.arrivals = {"tencent": [*evidence.arrivals["tencent"], arrival(3)]}


def sent_twice(evidence: Evidence) -> None:
    """Send an event again although no answer was lost."""
    evidence.arrivals = {"tencent": [*evidence.arrivals["tencent"], arrival(6)]}


def forged(evidence: Evidence) -> None:
    """Sign a request wrongly."""
    first, *others = evidence.arrivals["tencent"]
    evidence.arrivals = {"tencent": [replace(first, signed=False), *others]}


def too_fast(evidence: Evidence) -> None:
    """Send one request too many in a second."""
    evidence.worst_second = {"tencent": 1001}


@pytest.mark.parametrize(
    ("crime", "word"),
    [
        (dropped, "1 events never reached the provider, for example tencent-9"),
        (dropped_in_silence, "never reached the provider"),
        (never_taken, "20 events were enqueued, the workers took 19"),
        (still_waiting, "4 events are still on their way"),
        (false_delivery, "20 events were taken, 21 are accounted for"),
        (stranger, "1 reports were taken that nobody enqueued, for example tencent-999"),
        (unspeakable, "taken that nobody enqueued, for example tencent-3"),
        (sent_twice, "2 reports were taken twice, but only 1 answers were lost"),
        (forged, "1 requests had a wrong signature"),
        (too_fast, "1001 requests arrived within one second, the limit is 1000"),
    ],
)
def test_found(crime: Callable[[Evidence], None], word: str) -> None:
    """Each thing that must not be is found, and told in words that say what."""
    evidence = honest()
    crime(evidence)
    faults = audit(evidence)[1]
    assert any(fault.startswith("tencent: ") and word in fault for fault in faults), faults


def test_sorted_by_account() -> None:
    """Arrivals are told apart by their provider; an account without any has an empty list."""
    arrivals = [arrival(1), arrival(2, account="alibaba")]
    accounts = {"tencent": "tencent", "alibaba": "alibaba", "third": "alibaba_cn"}
    assert by_account(arrivals, accounts) == {"tencent": arrivals[:1], "alibaba": arrivals[1:], "third": []}
