"""Capacity and faults of the workers."""

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
    """Exclude other scraped programs with the same metrics."""
    return f"{expr} and on (instance) {_LIMIT}"


def _counter(metric: str) -> str:
    return f"sum({growth(metric, 'instance', INSTANCE)})"


WORKERS = Row(
    "Workers",
    (
        Panel(
            "Workers alive and desired",
            "Desired: as many as backlog, arrivals and rate limits can keep busy. More would not be faster.",
            "short",
            (Query(_ALIVE, "alive"), Query(_NEEDED, "desired")),
            6,
            colours={"alive": GREEN, "desired": BLUE},
        ),
        Panel(
            "Event loop lag",
            "Largest lag in the last second. Above 0.1 s, the dashed line, a worker lacks CPU.",
            "s",
            (Query(select("event_loop_lag_seconds", INSTANCE), PER_WORKER),),
            6,
            steps=Steps(GREEN, ((0.1, RED),)),
            line=True,
        ),
        Panel(
            "CPU",
            "Share of one core. A worker is single-threaded: near 100 %, start another.",
            "percentunit",
            (Query(_of_workers(_CPU), PER_WORKER),),
            6,
        ),
        Panel(
            "Memory",
            "Resident. Independent of the backlog, which is in Redis.",
            "bytes",
            (Query(_of_workers(_MEMORY), PER_WORKER),),
            6,
        ),
        Panel(
            "Concurrency used",
            "Requests in flight relative to OTPREPORT_CONCURRENCY. At 100 % a slow provider limits the worker.",
            "percentunit",
            (Query(f"{select('inflight_requests', INSTANCE)} / {_LIMIT}", PER_WORKER),),
            6,
            most=1,
        ),
        Panel(
            "Errors",
            "Failed calls to Redis, and reports that raised an exception, which are bugs in otpreport.",
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
            "Events taken over from workers that died or stalled.",
            "eps",
            (
                Query(_counter("leases_lost_total"), "leases lost"),
                Query(_counter("events_recovered_total"), "recovered"),
            ),
            6,
            colours={"leases lost": ORANGE, "recovered": BLUE},
        ),
        Panel(
            "Clock offset to the providers",
            "Known once a provider has refused our time; the worker then signs with the provider's time.",
            "s",
            (Query(_OFFSET, PER_WORKER),),
            6,
        ),
    ),
)
