"""The frame of a graph: grid lines, their labels, and the legend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from benchmarks.dashboard.drawing import Drawing
from benchmarks.dashboard.paper import FAINT, GRID, Box, block, line, text
from benchmarks.dashboard.scale import Scale

LEGEND = 24
_LETTER = 6.4
"""Pixels that a letter of a legend is wide, about."""


def plot(drawing: Drawing, left: float) -> Box:
    """Return where the values are drawn: the panel without title, axis labels and legend."""
    box = drawing.box
    return Box(box.x + left, box.y + 40, box.width - left - 14, box.height - 40 - 22 - LEGEND)


def clock(drawing: Drawing, where: Box) -> Scale:
    """Return the scale of the time."""
    return Scale(drawing.begin, drawing.end, where.x, where.right)


def minutes(drawing: Drawing, where: Box, wanted: int = 9) -> Iterator[str]:
    """Draw the hours and minutes below, and their lines."""
    scale = clock(drawing, where)
    span = (drawing.end - drawing.begin) / 60
    each = next(
        step for step in (1, 2, 5, 10, 30, 60, 240) if span / step <= max(2, wanted * where.width / 740)
    )
    time = (drawing.begin // 60 + 1) * 60
    while time < drawing.end:
        if not time // 60 % each:
            x = scale.at(time)
            yield line([(x, where.y), (x, where.bottom)], GRID, width=1)
            word = datetime.fromtimestamp(time, UTC).strftime("%H:%M")
            yield text(x, where.bottom + 16, word, size=11, fill=FAINT, at="middle")
        time += 60


def legend(drawing: Drawing, entries: list[tuple[str, str]]) -> Iterator[str]:
    """Draw the legend, as far as the width allows."""
    x, y = drawing.box.x + 12, drawing.box.bottom - 11
    for name, shade in entries:
        width = 26 + len(name) * _LETTER
        if x + width > drawing.box.right:
            yield text(x, y, "…", size=11, fill=FAINT)
            return
        yield block(Box(x, y - 5, 12, 3), shade, round_=1)
        yield text(x + 17, y, name, size=11, fill=FAINT)
        x += width
