"""One large figure over the faint line of its past."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.dashboard.drawing import Drawing
from benchmarks.dashboard.paper import FAINT, area, line, text
from benchmarks.dashboard.scale import Scale, said


def figure(drawing: Drawing) -> Iterator[str]:
    """Draw a panel of one figure."""
    box = drawing.box
    [one] = drawing.lines or (None,)
    value = one.last if one else None
    if one is None or value is None:
        yield text(box.x + box.width / 2, box.y + box.height / 2 + 12, "No data", fill=FAINT, at="middle")
        return
    shade = drawing.threshold(value)
    points = list(one.finite)
    if len(points) > 1:
        values = [value for _, value in points]
        time = Scale(points[0][0], points[-1][0], box.x + 1, box.right - 1)
        low = min(0.0, *values)
        height = Scale(low, max(*values, low + 1e-9), box.bottom - 2, box.y + box.height * 0.7)
        top = [(time.at(t), height.at(v)) for t, v in points]
        yield area(top, [(x, box.bottom - 1) for x, _ in top], shade, 0.18)
        yield line(top, shade, width=1)
    yield text(
        box.x + box.width / 2,
        box.y + box.height / 2 + 12,
        said(value, drawing.unit),
        size=38,
        fill=shade,
        at="middle",
    )
