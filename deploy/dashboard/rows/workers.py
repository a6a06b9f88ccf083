"""Whether the workers have what they need."""

from __future__ import annotations

from deploy.dashboard.look import BLUE, GREEN, ORANGE, RED, Steps
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import INSTANCE, Query, each_fleet, growth, select
from deploy.dashboard.rows.row import PER_WORKER, Row

_ALIVE = f"sum({each_fleet('workers')})"
_NEEDED = f"sum({each_fleet('desired_workers')})"
_LIMIT = select("concurrency", INSTANCE)
_OFFSET = f"max by (instance) (abs({select('clock_offset_seconds', INSTANCE)}))"
_CPU = f"rate(process_cpu_seconds_total{{{INSTANCE}}}[$__rate_interval])"
_MEMORY = f"process_resident_memory_bytes{{{INSTANCE}}}"


def _of_workers(expr: str) -> str:
    """Leave out other programs that are scraped and tell the same of themselves."""
    return f"{expr} and on (instance) {_LIMIT}"


def _counter(metric: str) -> str:
    return f"sum({growth(metric, 'instance', INSTANCE)})"


WORKERS = Row(
    "Workers",
    (
        Panel(
            "Workers alive and needed",
            "Needed: as many as the rate limits let work off what waits and arrives. More would not be faster.",
            "short",
            (Query(_ALIVE, "alive"), Query(_NEEDED, "needed")),
            6,
            colours={"alive": GREEN, "needed": BLUE},
        ),
        Panel(
            "Event loop lag",
            "The longest the loop was late in the last second. Above 0.1 s, the dashed line, a worker lacks CPU.",
            "s",
            (Query(select("event_loop_lag_seconds", INSTANCE), PER_WORKER),),
            6,
            steps=Steps(GREEN, ((0.1, RED),)),
            line=True,
        ),
        Panel(
            "CPU",
            "Share of one core. A worker has one loop: near 100 %, start another worker.",
            "percentunit",
            (Query(_of_workers(_CPU), PER_WORKER),),
            6,
        ),
        Panel(
            "Memory",
            "Resident. It does not follow the queue: what waits, waits in Redis.",
            "bytes",
            (Query(_of_workers(_MEMORY), PER_WORKER),),
            6,
        ),
        Panel(
            "Concurrency used",
            "Requests under way against OTPREPORT_CONCURRENCY. At 100 % a slow provider holds the worker up.",
            "percentunit",
            (Query(f"{select('inflight_requests', INSTANCE)} / {_LIMIT}", PER_WORKER),),
            6,
            most=1,
        ),
        Panel(
            "Errors",
            "Calls to Redis that failed, and reports that raised, which are faults of this program.",
            "ops",
            (
                Query(_counter("redis_errors_total"), "redis"),
                Query(_counter("internal_errors_total"), "internal"),
            ),
            6,
            colours={"redis": ORANGE, "internal": RED},
        ),
        Panel(
            "Leases lost, events recovered",
            "Events that went from a worker that died or stood still to another one.",
            "eps",
            (
                Query(_counter("leases_lost_total"), "leases lost"),
                Query(_counter("events_recovered_total"), "recovered"),
            ),
            6,
            colours={"leases lost": ORANGE, "recovered": BLUE},
        ),
        Panel(
            "Clock against the providers'",
            "How far they are apart, once a provider has refused our time; the worker then signs by the provider's.",
            "s",
            (Query(_OFFSET, PER_WORKER),),
            6,
        ),
    ),
)
