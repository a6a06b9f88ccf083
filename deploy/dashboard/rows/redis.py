"""Whether Redis is there and has room."""

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
            "Memory of Redis",
            "Used, and its limit: maxmemory, or without one its machine's. Once full, it takes no new event.",
            "bytes",
            (Query(_BY_KIND, "{{kind}}"),),
            10,
            colours={"used": BLUE, "limit": RED},
        ),
        Panel(
            "Share of the memory used",
            "The queue, the dead letters and the memory of what was reported all live there. Of several Redis the "
            "fullest counts.",
            "percentunit",
            (Query(f"max({_USED} / ignoring (kind) {_LIMIT})", "used"),),
            7,
            steps=Steps(GREEN, ((0.8, RED),)),
            most=1,
            line=True,
        ),
        Panel(
            "Redis answers",
            "Whether Redis answered the exporter; each of them, if there are several.",
            "short",
            (Query(f"min({each_fleet('redis_up')})", "Redis"),),
            7,
            kind="state-timeline",
            names=(Name(0, "away", RED), Name(1, "answers", GREEN)),
        ),
    ),
)
