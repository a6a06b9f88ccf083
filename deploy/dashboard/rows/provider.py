"""What the providers answer, and how fast."""

from __future__ import annotations

from deploy.dashboard.look import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import INSTANCE, Query, growth, quantiles, select
from deploy.dashboard.rows.row import AGES, PER_ACCOUNT, PER_WORKER, USED, Row

RESULTS = {
    "delivered": GREEN,
    "throttled": YELLOW,
    "transient": ORANGE,
    "unknown": PURPLE,
    "not_sent": "dark-orange",
    "doubtful": BLUE,
    "clock": GREY,
    "account": "dark-red",
    "permanent": RED,
}

_FAILED = growth("attempts_total", "account", result="!~delivered|throttled")
_COUNTS = f"sum by (le) (increase({select('attempt_duration_seconds_bucket')}[$__rate_interval]))"

PROVIDER = Row(
    "Provider",
    (
        Panel(
            "Attempts by result",
            "Requests a second, by what the answer meant.",
            "reqps",
            (Query(growth("attempts_total", "result"), "{{result}}"),),
            12,
            colours=RESULTS,
            stack=True,
        ),
        Panel(
            "Attempts that failed",
            "Share of the requests that were neither delivered nor throttled.",
            "percentunit",
            (Query(f"{_FAILED} / {USED}", PER_ACCOUNT),),
            12,
            most=1,
        ),
        Panel(
            "Duration of a request",
            "From sending it to its whole answer, or to the time-out.",
            "s",
            quantiles("attempt_duration_seconds"),
            8,
            colours=AGES,
        ),
        Panel(
            "Durations, as counts",
            "Requests by how long they took: two bands are two ways of answering.",
            "short",
            (Query(_COUNTS, "{{le}}", heatmap=True),),
            8,
            kind="heatmap",
        ),
        Panel(
            "Requests under way",
            "By worker.",
            "short",
            (Query(select("inflight_requests", INSTANCE), PER_WORKER),),
            8,
            stack=True,
        ),
    ),
)
