"""The ledger in figures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from simulator.cloud import Cloud
from simulator.in_flight import InFlight
from simulator.judge import Spans, Worst
from simulator.lag import LagMeter
from simulator.ledger import Book

LISTED = 100  # entries shown of a list that may be long; the number beside it is the whole


def summarise(cloud: Cloud, connections: dict[str, int]) -> dict[str, object]:
    """Return the figures of all keys; times are UNIX seconds, durations seconds."""
    books = cloud.ledger.books
    takings = sum(book.takings for book in books)
    return {
        "arrivals": sum(book.count for book in books),
        "probes": sum(book.ids.get("", 0) for book in books),
        "taken": takings,
        "taken_ids": sum(book.taken_count for book in books),
        "taken_unanswered": takings - cloud.ledger.answered_takings,
        "twice": sum(len(book.twice) for book in books),
        "twice_ids": list(islice((entry for book in books for entry in twice(book)), LISTED)),
        "false_after_true": sum(book.false_after_true for book in books),
        "connections": connections,
        "in_flight": {"now": cloud.in_flight.now, "max": cloud.in_flight.most},
        "lag": _lag(cloud.lag, cloud.clock.offset),
        "keys": [_key(cloud, book) for book in books],
    }


def twice(book: Book) -> Iterator[dict[str, object]]:
    """Yield the reports taken more than once: the same id with the same outcome."""
    for (message_id, verified), times in book.twice.items():
        yield {
            "provider": book.provider,
            "key": book.key,
            "message_id": message_id,
            "verified": verified,
            "times": times,
        }


def _key(cloud: Cloud, book: Book) -> dict[str, object]:
    offset, spans = cloud.clock.offset, cloud.lag.spans
    return {
        "provider": book.provider,
        "key": book.key,
        "rate": cloud.rate(book),
        "arrivals": book.count,
        "ids": len(book.ids),
        "taken": book.takings,
        "taken_ids": book.taken_count,
        "twice": len(book.twice),
        "false_after_true": book.false_after_true,
        "codes": book.codes,
        "in_flight": _in_flight(cloud.in_flight_of(book)),
        "aligned": _worst(book.judge.aligned(spans), offset),
        "sliding": _worst(book.judge.sliding, offset),
    }


def _in_flight(of_key: InFlight) -> dict[str, object]:
    """Return what is open now, the most at a time, the limit, and for how many seconds in all requests were open."""
    seconds = of_key.until(asyncio.get_running_loop().time())
    return {"now": of_key.now, "max": of_key.most, "limit": of_key.limit, "seconds": seconds}


def _worst(worst: Worst, offset: float) -> dict[str, object]:
    return {
        "worst": worst.count,
        "at": worst.at + offset if worst.count else None,
        "worst_on_time": worst.on_time,
        "on_time_at": worst.on_time_at + offset if worst.on_time else None,
        "set_aside": worst.set_aside,
    }


def _lag(lag: LagMeter, offset: float) -> dict[str, object]:
    spans: Spans = [(start, min(end, lag.checked_until)) for start, end in lag.spans]
    return {
        "max": lag.worst,
        "late": len(spans),
        "late_seconds": sum(end - start for start, end in spans),
        "spans": [(start + offset, end + offset) for start, end in spans[:LISTED]],
    }
