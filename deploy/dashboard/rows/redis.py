"""Availability and memory of Redis."""

from __future__ import annotations

from deploy.dashboard.look import BLUE, GREEN, RED, Name, Steps
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import ALL, Query, each_fleet, select
from deploy.dashboard.rows.row import Row

_BY_KIND = f"sum by (kind) ({each_fleet('redis_memory_bytes', 'fleet, kind')})"
_USED = select("redis_memory_bytes", ALL, kind="used")
_LIMIT = select("redis_memory_bytes", ALL, kind="limit")

REDIS = Row(
    "Redis",
    (
        Panel(
            "Redis memory",
            "Used, and the limit: maxmemory, or the machine's memory. Once full, Redis accepts no new events.",
            "bytes",
            (Query(_BY_KIND, "{{kind}}"),),
            10,
            colours={"used": BLUE, "limit": RED},
        ),
        Panel(
            "Redis memory used",
            "Share of the limit. Queue, dead letters and deduplication all live there. With several Redis, the "
            "fullest.",
            "percentunit",
            (Query(f"max({_USED} / ignoring (kind) {_LIMIT})", "used"),),
            7,
            steps=Steps(GREEN, ((0.8, RED),)),
            most=1,
            line=True,
        ),
        Panel(
            "Redis availability",
            "Whether Redis answered the exporter; with several, whether each did.",
            "short",
            (Query(f"min({each_fleet('redis_up')})", "Redis"),),
            7,
            kind="state-timeline",
            names=(Name(0, "down", RED), Name(1, "up", GREEN)),
        ),
    ),
)
