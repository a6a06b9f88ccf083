"""Prometheus' answers for one panel, ready to be drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.dashboard.paper import CLASSIC, Box, colour
from tests.support.board import Json


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name, colour, values by UNIX time, and whether its line is dashed."""

    name: str
    colour: str
    points: dict[float, float]
    dashed: bool = False

    @property
    def finite(self) -> Iterator[tuple[float, float]]:
        """Its points that are numbers."""
        return ((time, value) for time, value in self.points.items() if math.isfinite(value))

    @property
    def last(self) -> float | None:
        """Its last value that is a number."""
        return next((value for _, value in reversed(list(self.finite))), None)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A panel of the dashboard's file, its series, the place it is drawn at and the time that it shows."""

    panel: Json
    lines: tuple[Line, ...]
    box: Box
    begin: float
    end: float

    @property
    def defaults(self) -> Json:
        """What holds for all of its series."""
        found: Json = self.panel["fieldConfig"]["defaults"]
        return found

    @property
    def unit(self) -> str:
        """The unit of its values."""
        return str(self.defaults["unit"])

    @property
    def bounds(self) -> list[tuple[float, str]]:
        """Its thresholds: from which value which colour holds."""
        rows: list[Json] = self.defaults["thresholds"]["steps"]
        return [(-math.inf if row["value"] is None else row["value"], colour(row["color"])) for row in rows]

    @property
    def times(self) -> list[float]:
        """Every time at which it has a point."""
        return sorted({time for line in self.lines for time in line.points})

    def threshold(self, value: float) -> str:
        """Return the colour that the thresholds give a value."""
        return next(shade for bound, shade in reversed(self.bounds) if value >= bound)


def coloured(panel: Json, series: dict[str, dict[float, float]]) -> tuple[Line, ...]:
    """Give each series the look of its overrides, or the next colour of the palette."""
    fixed: dict[str, str] = {}
    dashed: list[str] = []
    for override in panel["fieldConfig"]["overrides"]:
        matcher, [change] = override["matcher"], override["properties"]
        if change["id"] == "color":
            fixed[matcher["options"]] = change["value"]["fixedColor"]
        else:
            dashed.append(matcher["options"].strip("/"))
    return tuple(
        Line(
            name,
            colour(fixed.get(name, CLASSIC[place % len(CLASSIC)])),
            points,
            any(re.search(pattern, name) for pattern in dashed),
        )
        for place, (name, points) in enumerate(series.items())
    )
