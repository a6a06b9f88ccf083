"""Horizontal bars as SVG, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.reading import Spread

LEFT, BAR, RIGHT = 270, 470, 140
TOP, STEP, THICK = 48, 34, 20

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="13"><title>{title}</title>
<rect width="{width}" height="{height}" fill="#ffffff"/>
<text x="16" y="28" font-size="15" font-weight="bold">{title}</text>"""

_BAR = """<text x="{left}" y="{text}" text-anchor="end"{weight}>{label}</text>
<rect x="{x}" y="{y}" width="{width:.1f}" height="{thick}" rx="2" fill="{colour}"/>
<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {up}v8M{high:.1f} {up}v8" stroke="#334155" fill="none"/>
<text x="{after:.1f}" y="{text}" fill="#334155">{value}</text>"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar as long as the median, a line from the least to the greatest, and the text behind it."""

    label: str
    spread: Spread
    text: str


def bars(title: str, lines: Sequence[Bar], *, strong: str = "") -> str:
    """Return a picture of the bars; `strong` names the one to stand out."""
    longest = max(line.spread.high for line in lines)
    height = TOP + STEP * len(lines) + 8
    head = _HEAD.format(width=LEFT + BAR + RIGHT, height=height, title=escape(title))
    drawn = [_bar(line, TOP + STEP * i, BAR / longest, line.label == strong) for i, line in enumerate(lines)]
    return "\n".join([head, *drawn, "</svg>", ""])


def _bar(line: Bar, y: int, scale: float, strong: bool) -> str:
    low, high = (LEFT + value * scale for value in (line.spread.low, line.spread.high))
    return _BAR.format(
        label=escape(line.label),
        value=escape(line.text),
        weight=' font-weight="bold"' if strong else "",
        colour="#1d4ed8" if strong else "#94a3b8",
        left=LEFT - 10,
        x=LEFT,
        y=y,
        width=line.spread.median * scale,
        thick=THICK,
        text=y + THICK - 5,
        low=low,
        high=high,
        middle=y + THICK // 2,
        up=y + THICK // 2 - 4,
        after=high + 8,
    )
