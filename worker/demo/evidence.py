"""Collects what Redis, the worker and the provider recorded, for the audit."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import httpx
import redis
from prometheus_client.parser import text_string_to_metric_families

from otpreport import Verification
from providers.registry import REGISTRY
from tasks.keys import Keys
from worker.demo.audit import Arrival, Evidence, by_account

TWO, ALL = ("tencent", "alibaba"), tuple(sorted(REGISTRY))
"""Accounts of the demo: each is named as its provider."""

PASSING = ("throttled", "transient", "unknown", "doubtful", "clock")
"""Results after which an event is tried again."""

KEYS = Keys()


def read_books(client: redis.Redis, accounts: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return each account's books: how many events were taken, delivered, and so on."""
    books: dict[str, dict[str, int]] = {account: {} for account in accounts}
    for name, count in client.hgetall(KEYS.books).items():
        account, _, place = str(name).partition(":")
        books[account][place] = int(count)
    return books


def pending(client: redis.Redis, account: str) -> int:
    """Return how many events of the account have not ended."""
    ready = sum(int(client.llen(name)) for name in KEYS.ready(account))
    return ready + int(client.hlen(KEYS.taken(account)))


def dead(client: redis.Redis, account: str) -> int:
    """Return how many dead letters the account has."""
    return int(client.hlen(KEYS.dead(account)))


def read_attempts(metrics_url: str) -> dict[str, Counter[str]]:
    """Return the worker's own count of attempts by account and result."""
    attempts: dict[str, Counter[str]] = defaultdict(Counter)
    for family in text_string_to_metric_families(httpx.get(f"{metrics_url}/metrics").text):
        for sample in family.samples:
            if sample.name == "otpreport_attempts_total":
                attempts[sample.labels["account"]][sample.labels["result"]] += int(sample.value)
    return attempts


def gather(
    client: redis.Redis, simulator_url: str, metrics_url: str, events: Mapping[str, Sequence[Verification]]
) -> Evidence:
    """Collect from Redis, the worker and the provider."""
    attempts = read_attempts(metrics_url)
    summary = httpx.get(f"{simulator_url}/-/summary").json()
    seconds = {
        key["provider"]: max(key["aligned"]["worst"], key["sliding"]["worst"]) for key in summary["keys"]
    }
    return Evidence(
        enqueued=events,
        books=read_books(client, events),
        pending={account: pending(client, account) for account in events},
        dead_ids={account: _dead_ids(client, account) for account in events},
        in_doubt={account: attempts[account]["unknown"] for account in events},
        retried={account: sum(attempts[account][result] for result in PASSING) for account in events},
        arrivals=by_account(ledger(simulator_url), {account: account for account in events}),
        worst_second={account: seconds.get(account, 0) for account in events},
        limits={account: REGISTRY[account].rate_limit for account in events},
        skips=frozenset(account for account in events if REGISTRY[account].unverified != "reported"),
    )


def arrivals(simulator_url: str) -> int:
    """Return how many requests the provider has had."""
    found: int = httpx.get(f"{simulator_url}/-/summary").json()["arrivals"]
    return found


def _dead_ids(client: redis.Redis, account: str) -> list[str]:
    letters: list[str] = client.hvals(KEYS.dead(account))  # type: ignore[assignment]  # redis-py types both clients
    return [json.loads(letter.partition("\n")[0])["event"]["message_id"] for letter in letters]


def ledger(simulator_url: str) -> list[Arrival]:
    """Return every arrival in the provider's ledger."""
    arrivals: list[Arrival] = []
    while True:
        page = httpx.get(f"{simulator_url}/-/ledger", params={"from": len(arrivals), "limit": 5000}).text
        rows = [json.loads(line) for line in page.splitlines()]
        arrivals += [
            Arrival(
                provider=row["provider"],
                message_id=row["message_id"],
                verified=row["verified"],
                taken=row["taken"],
                signed=row["signature_ok"],
                at=row["unix"],
            )
            for row in rows
        ]
        if not rows:
            return arrivals
