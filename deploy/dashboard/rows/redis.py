"""Whether Redis is there and has room."""

from __future__ import annotations

from deploy.dashboard.look import BLUE, GREEN, RED, Name, Steps
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import ALL, Query, select
from deploy.dashboard.rows.row import Row

_BY_KIND = f"max by (kind) ({select('redis_memory_bytes', ALL)})"
_USED = f"max({select('redis_memory_bytes', ALL, kind='used')})"
_LIMIT = f"max({select('redis_memory_bytes', ALL, kind='limit')})"

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
            "The queue, the dead letters and the memory of what was reported all live there.",
            "percentunit",
            (Query(f"{_USED} / {_LIMIT}", "used"),),
            7,
            steps=Steps(GREEN, ((0.8, RED),)),
            most=1,
            line=True,
        ),
        Panel(
            "Redis answers",
            "Whether Redis answered the exporter.",
            "short",
            (Query(f"min({select('redis_up', ALL)})", "Redis"),),
            7,
            kind="state-timeline",
            names=(Name(0, "away", RED), Name(1, "answers", GREEN)),
        ),
    ),
)
