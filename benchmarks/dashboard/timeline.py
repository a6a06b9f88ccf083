"""States over time, a bar for each series."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from benchmarks.dashboard.axes import clock, legend, minutes, plot
from benchmarks.dashboard.drawing import Drawing, Line
from benchmarks.dashboard.paper import FAINT, Box, block, colour, text
from benchmarks.dashboard.scale import Scale

LABELS = 84
WIDE = 7.0
"""Pixels that a letter takes, about."""


def timeline(drawing: Drawing) -> Iterator[str]:
    """Draw a panel of states."""
    where = plot(drawing, LABELS)
    [mapping] = drawing.defaults["mappings"]
    names = {float(value): (row["text"], colour(row["color"])) for value, row in mapping["options"].items()}
    yield from minutes(drawing, where)
    each = where.height / max(1, len(drawing.lines))
    for place, one in enumerate(drawing.lines):
        bar = Box(where.x, where.y + each * (place + 0.1), where.width, each * 0.8)
        yield text(where.x - 8, bar.y + bar.height / 2 + 4, one.name, size=11, fill=FAINT, at="end")
        yield from _spans(one, names, bar, clock(drawing, where))
    seen = {value for one in drawing.lines for value in one.points.values()}
    yield from legend(drawing, [named for value, named in names.items() if value in seen])


def _spans(one: Line, names: dict[float, tuple[str, str]], bar: Box, time: Scale) -> Iterator[str]:
    """Draw each stretch of one value, with its name where there is room."""
    stretches = [(value, [t for t, _ in rows]) for value, rows in groupby(one.finite, key=lambda row: row[1])]
    ends = [times[0] for _, times in stretches[1:]] + [time.high]
    for (value, times), end in zip(stretches, ends, strict=True):
        name, shade = names[value]
        start = time.at(times[0])
        span = Box(start, bar.y, max(1.0, time.at(end) - start), bar.height)
        yield block(span, shade, opacity=0.8)
        if span.width > len(name) * WIDE:
            yield text(span.x + 6, bar.y + bar.height / 2 + 4, name, fill="#111217")
