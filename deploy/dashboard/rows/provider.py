"""The providers' results and latency."""

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
            "Requests per second, by result.",
            "reqps",
            (Query(growth("attempts_total", "result"), "{{result}}"),),
            12,
            colours=RESULTS,
            stack=True,
        ),
        Panel(
            "Failed attempts",
            "Share of requests neither delivered nor throttled.",
            "percentunit",
            (Query(f"{_FAILED} / {USED}", PER_ACCOUNT),),
            12,
            most=1,
        ),
        Panel(
            "Request latency",
            "From sending to the complete answer, or the timeout.",
            "s",
            quantiles("attempt_duration_seconds"),
            8,
            colours=AGES,
        ),
        Panel(
            "Request latency distribution",
            "Requests by latency; two bands mean two kinds of answers.",
            "short",
            (Query(_COUNTS, "{{le}}", heatmap=True),),
            8,
            kind="heatmap",
        ),
        Panel(
            "Requests in flight",
            "By worker.",
            "short",
            (Query(select("inflight_requests", INSTANCE), PER_WORKER),),
            8,
            stack=True,
        ),
    ),
)
