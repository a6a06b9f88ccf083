"""Lines over time, beside each other or piled up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from benchmarks.dashboard.axes import clock, legend, minutes, plot
from benchmarks.dashboard.drawing import Drawing, Line
from benchmarks.dashboard.paper import FAINT, GRID, Box, area, line, text
from benchmarks.dashboard.scale import Scale, said, steps

LABELS = 66
GAP = 2.5
"""Times without a value that end a line, in steps."""


def graph(drawing: Drawing) -> Iterator[str]:
    """Draw a panel of lines."""
    where = plot(drawing, LABELS)
    custom = drawing.defaults["custom"]
    piled = custom["stacking"]["mode"] == "normal"
    pairs = list(_piles(drawing) if piled else _apart(drawing))
    scale, marks = _scale(drawing, pairs, where)
    for mark in marks:
        y = scale.at(mark)
        yield line([(where.x, y), (where.right, y)], GRID, width=1)
        yield text(where.x - 8, y + 4, said(mark, drawing.unit), size=11, fill=FAINT, at="end")
    yield from minutes(drawing, where)
    yield from _curves(drawing, pairs, scale, where)
    if custom["thresholdsStyle"]["mode"] != "off":
        yield from _limits(drawing, scale, where)
    yield from legend(drawing, [(one.name, one.colour) for one in drawing.lines])


def _apart(drawing: Drawing) -> Iterator[tuple[Line, dict[float, float], dict[float, float]]]:
    """Yield each line with its upper and lower edge."""
    for one in drawing.lines:
        upper = dict(one.finite)
        yield one, upper, dict.fromkeys(upper, 0.0)


def _piles(drawing: Drawing) -> Iterator[tuple[Line, dict[float, float], dict[float, float]]]:
    below = dict.fromkeys(drawing.times, 0.0)
    for one in drawing.lines:
        values = dict(one.finite)
        above = {time: height + values.get(time, 0.0) for time, height in below.items()}
        yield one, above, below
        below = above


def _scale(
    drawing: Drawing, pairs: list[tuple[Line, dict[float, float], dict[float, float]]], where: Box
) -> tuple[Scale, list[float]]:
    values = [value for _, upper, _ in pairs for value in upper.values()] or [0.0]
    drawn = drawing.defaults["custom"]["thresholdsStyle"]["mode"] != "off"
    limits = [bound for bound, _ in drawing.bounds[1:]] if drawn else []
    low = drawing.defaults.get("min", min(values))
    high = max([*values, *limits])
    marks = steps(low, drawing.defaults.get("max", high if high > low else low + 1), 5, drawing.unit)
    if "max" in drawing.defaults:
        marks = [mark for mark in marks if mark <= drawing.defaults["max"] * 1.001]
    return Scale(marks[0], marks[-1], where.bottom, where.y), marks


def _curves(
    drawing: Drawing,
    pairs: list[tuple[Line, dict[float, float], dict[float, float]]],
    scale: Scale,
    where: Box,
) -> Iterator[str]:
    time = clock(drawing, where)
    custom = drawing.defaults["custom"]
    for one, upper, lower in pairs:
        for piece in _pieces(list(upper), drawing):
            top = [(time.at(t), scale.at(upper[t])) for t in piece]
            if custom["fillOpacity"]:
                edges = piece if any(lower.values()) else [piece[0], piece[-1]]
                bottom = [(time.at(t), scale.at(lower[t])) for t in edges]
                yield area(top, bottom, one.colour, custom["fillOpacity"] / 100)
            if custom["lineWidth"]:
                yield line(top, one.colour, dash="8 6" if one.dashed else "")


def _pieces(times: list[float], drawing: Drawing) -> Iterator[list[float]]:
    """Cut a line where values are missing, as it is drawn with gaps."""
    every = drawing.times
    step = min((b - a for a, b in pairwise(every)), default=1.0)
    piece: list[float] = []
    for time in times:
        if piece and time - piece[-1] > GAP * step:
            yield piece
            piece = []
        piece.append(time)
    if piece:
        yield piece


def _limits(drawing: Drawing, scale: Scale, where: Box) -> Iterator[str]:
    for bound, shade in drawing.bounds[1:]:
        y = scale.at(bound)
        yield line([(where.x, y), (where.right, y)], shade, dash="7 5", width=1.2)
