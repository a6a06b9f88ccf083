"""Counts by bucket and time: the more, the brighter."""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchmarks.dashboard.axes import LEGEND, clock, minutes, plot
from benchmarks.dashboard.drawing import Drawing
from benchmarks.dashboard.paper import FAINT, Box, block, text
from benchmarks.dashboard.scale import said

LABELS = 66
CELL = 9.0
"""Pixels that a cell is wide, at least."""


def heatmap(drawing: Drawing) -> Iterator[str]:
    """Draw a panel of counts, each bucket without what the one below it has."""
    where = plot(drawing, LABELS)
    where = Box(where.x, where.y, where.width, where.height + LEGEND)
    yield from minutes(drawing, where)
    buckets = sorted(drawing.lines, key=lambda one: float(one.name))
    times = drawing.times[:: max(1, round(len(drawing.times) * CELL / where.width))]
    counts = [
        [one.points.get(time, 0.0) - (below.points.get(time, 0.0) if below else 0.0) for time in times]
        for below, one in zip([None, *buckets], buckets, strict=False)
    ]
    most = max((count for row in counts for count in row if math.isfinite(count)), default=1.0) or 1.0
    each, width = where.height / len(buckets), where.width / max(1, len(times))
    scale = clock(drawing, where)
    for place, (bucket, row) in enumerate(zip(buckets, counts, strict=True)):
        y = where.bottom - each * (place + 1)
        bound = float(bucket.name)
        if not place % 2:
            word = said(bound, "s") if math.isfinite(bound) else "+Inf"
            yield text(where.x - 8, y + 4, word, size=11, fill=FAINT, at="end")
        for time, count in zip(times, row, strict=True):
            if count > 1e-9:
                cell = Box(scale.at(time) + 0.5, y + 0.5, width - 1, each - 1)
                yield block(cell, _shade((count / most) ** 0.5))


def _shade(share: float) -> str:
    """Return an orange, from nearly dark to nearly white."""
    low, middle, high = (0x4A, 0x1C, 0x08), (0xF1, 0x69, 0x13), (0xFE, 0xE6, 0xCE)
    start, end, part = (low, middle, share * 2) if share < 0.5 else (middle, high, share * 2 - 1)
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(start, end, strict=True))
