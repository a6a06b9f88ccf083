"""Shapes and words as SVG, in the colours of Grafana's dark theme."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

NAMED = {
    "green": "#73BF69",
    "blue": "#5794F2",
    "purple": "#B877D9",
    "orange": "#FF9830",
    "yellow": "#FADE2A",
    "red": "#F2495C",
    "dark-red": "#C4162A",
}
"""Grafana's names of colours."""

CLASSIC = ("#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0")
"""Grafana's palette for series without a colour of their own, in its order."""

CANVAS, PANEL, EDGE, INK, FAINT, GRID = "#111217", "#181b1f", "#2a2c31", "#ccccdc", "#9a9aa8", "#2c2e33"
FONT = "Inter, 'DejaVu Sans', Helvetica, Arial, sans-serif"

Points = Iterable[tuple[float, float]]


def colour(name: str) -> str:
    """Return a colour's code, which a name may be already."""
    return NAMED.get(name, name)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height


def text(x: float, y: float, words: str, *, size: float = 12, fill: str = INK, at: str = "start") -> str:
    """Write words on a line, at their `start`, `middle` or `end`."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}" text-anchor="{at}">{escape(words)}</text>'


def block(box: Box, fill: str, *, edge: str = "", round_: float = 0, opacity: float = 1) -> str:
    """Fill a rectangle."""
    more = f' rx="{round_:g}"' if round_ else ""
    more += f' stroke="{edge}"' if edge else ""
    more += f' opacity="{opacity:g}"' if opacity < 1 else ""
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    return f'<rect {place} fill="{fill}"{more}/>'


def line(points: Points, stroke: str, *, width: float = 1.3, dash: str = "") -> str:
    """Draw a line through points."""
    more = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{_path(points)}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{more}/>'


def area(upper: Points, lower: Points, fill: str, opacity: float) -> str:
    """Fill what lies between two lines."""
    outline = [*upper, *reversed(list(lower))]
    return f'<path d="{_path(outline)}Z" fill="{fill}" opacity="{opacity:g}"/>'


def sheet(width: float, height: float, title: str, shapes: Iterable[str]) -> str:
    """Return the whole file."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="{FONT}"><title>{escape(title)}</title>'
    )
    return "\n".join([head, block(Box(0, 0, width, height), CANVAS), *shapes, "</svg>", ""])


def _path(points: Points) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
