"""Backlog, waiting time and outcomes."""

from __future__ import annotations

from deploy.dashboard.look import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW, ZERO
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import ALL, Query, each_fleet, fleet, growth, select
from deploy.dashboard.rows.row import EFFECTIVE, PER_ACCOUNT, Row

OUTCOMES = {
    "delivered": GREEN,
    "duplicate": BLUE,
    "skipped": GREY,
    "shed": YELLOW,
    "tracked": PURPLE,
    "dead": RED,
}
PLACES = {"ready": BLUE, "leased": GREEN, "scheduled": ORANGE}

_EVENTS = fleet("queue_events", "account, state")
_WAITING = f"sum by (account) ({fleet('queue_events', 'account, state', state='~ready|scheduled')})"

QUEUE = Row(
    "Queue",
    (
        Panel(
            "Events by state",
            "ready: queued; leased: held by a worker; scheduled: waiting for a retry or eta.",
            "short",
            (Query(f"sum by (state) ({_EVENTS})", "{{state}}"),),
            12,
            colours=PLACES,
            stack=True,
        ),
        Panel(
            "Backlog by account",
            "Waiting events: ready and scheduled.",
            "short",
            (Query(_WAITING, PER_ACCOUNT),),
            6,
        ),
        Panel(
            "Time to drain the backlog",
            "Backlog divided by the effective rate: the shortest time to drain it without new events.",
            "s",
            (Query(f"{_WAITING} / {EFFECTIVE}", PER_ACCOUNT),),
            6,
        ),
        Panel(
            "Outcomes",
            "Messages per second. dead: became a dead letter; shed: dropped by an operator's order.",
            "eps",
            (Query(growth("events_total", "outcome"), "{{outcome}}"),),
            12,
            colours=OUTCOMES,
            stack=True,
        ),
        Panel(
            "Unserved queues",
            "Events for accounts that are not configured, for example because of a typo.",
            "short",
            (Query(f"sum({each_fleet('unserved_queue_events')})", "unserved"),),
            6,
            steps=ZERO,
        ),
        Panel(
            "Accounting discrepancy",
            "Events found in no state or in two. Anything but 0 is a loss or a double count.",
            "short",
            (Query(f"max({select('books_gap_events', ALL)})", "gap"),),
            6,
            steps=ZERO,
        ),
    ),
)
