"""What waits, for how long, and what became of the rest."""

from __future__ import annotations

from deploy.dashboard.look import BLUE, GREEN, GREY, ORANGE, RED, YELLOW, ZERO
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import ALL, Query, each_fleet, fleet, growth, select
from deploy.dashboard.rows.row import EFFECTIVE, PER_ACCOUNT, Row

OUTCOMES = {"delivered": GREEN, "duplicate": BLUE, "skipped": GREY, "shed": YELLOW, "dead": RED}
PLACES = {"ready": BLUE, "leased": GREEN, "scheduled": ORANGE}

_EVENTS = fleet("queue_events", "account, state")
_WAITING = f"sum by (account) ({fleet('queue_events', 'account, state', state='~ready|scheduled')})"

QUEUE = Row(
    "Queue",
    (
        Panel(
            "Events by place",
            "ready: wait for a worker; leased: a worker has them; scheduled: wait for another attempt.",
            "short",
            (Query(f"sum by (state) ({_EVENTS})", "{{state}}"),),
            12,
            colours=PLACES,
            stack=True,
        ),
        Panel(
            "Waiting by account",
            "Events that nobody works on: ready and scheduled.",
            "short",
            (Query(_WAITING, PER_ACCOUNT),),
            6,
        ),
        Panel(
            "Time to empty the queue",
            "What waits, divided by the effective rate: the least it takes if nothing is added.",
            "s",
            (Query(f"{_WAITING} / {EFFECTIVE}", PER_ACCOUNT),),
            6,
        ),
        Panel(
            "How events ended",
            "Messages a second. dead: a dead letter was written; shed: acknowledged and not sent, on purpose.",
            "eps",
            (Query(growth("events_total", "outcome"), "{{outcome}}"),),
            12,
            colours=OUTCOMES,
            stack=True,
        ),
        Panel(
            "In queues that nobody serves",
            "Events for accounts that are not configured, e.g. a misspelt name.",
            "short",
            (Query(f"sum({each_fleet('unserved_queue_events')})", "unserved"),),
            6,
            steps=ZERO,
        ),
        Panel(
            "Gap in the books",
            "Events taken that are in no place, or in two: anything but 0 is a loss or a double count.",
            "short",
            (Query(f"max({select('books_gap_events', ALL)})", "gap"),),
            6,
            steps=ZERO,
        ),
    ),
)
