"""One picture for each row of the dashboard, laid out as Grafana lays it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.dashboard.drawing import Drawing, coloured
from benchmarks.dashboard.figure import figure
from benchmarks.dashboard.graph import graph
from benchmarks.dashboard.heatmap import heatmap
from benchmarks.dashboard.paper import EDGE, PANEL, Box, block, sheet, text
from benchmarks.dashboard.timeline import timeline
from tests.support.board import Json, asked, board
from tests.support.prometheus import Prometheus

WIDTH, COLUMNS, ROW, GAP = 1600.0, 24, 30, 8
RATE = "15s"
KINDS: dict[str, Callable[[Drawing], Iterator[str]]] = {
    "timeseries": graph,
    "stat": figure,
    "state-timeline": timeline,
    "heatmap": heatmap,
}


@dataclass(frozen=True, slots=True)
class Page:
    """Draws rows from what a Prometheus saw from one UNIX time to another, a point every `step` seconds."""

    prometheus: Prometheus
    begin: float
    end: float
    step: float = 3.0

    def rows(self, wanted: Callable[[str], bool] = bool) -> Iterator[tuple[str, str]]:
        """Yield the title and picture of each row whose title is wanted."""
        panels: list[Json] = board()["panels"]
        heads = [place for place, panel in enumerate(panels) if panel["type"] == "row"]
        for head, after in zip(heads, [*heads[1:], len(panels)], strict=True):
            if wanted(panels[head]["title"]):
                yield panels[head]["title"], self._row(panels[head], panels[head + 1 : after])

    def _row(self, head: Json, panels: list[Json]) -> str:
        top = head["gridPos"]["y"] + 1
        height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) - top
        shapes = [text(14, 26, f"⌄  {head['title']}", size=16)]
        for panel in panels:
            shapes += self._panel(panel, _box(panel["gridPos"], top))
        return sheet(WIDTH, 38 + height * (ROW + GAP) + 4, f"otpreport: {head['title']}", shapes)

    def _panel(self, panel: Json, box: Box) -> Iterator[str]:
        yield block(box, PANEL, edge=EDGE, round_=3)
        yield text(box.x + 12, box.y + 23, panel["title"], size=14)
        found: dict[str, dict[float, float]] = {}
        for query in asked(panel):
            begin = self.end if query.at_once else self.begin
            filled = query.filled(self.begin, self.end, rate=RATE)
            for series in self.prometheus.graph(filled, begin, self.end, self.step):
                found[query.name(series)] = series.points
        drawing = Drawing(panel, coloured(panel, found), box, self.begin, self.end)
        yield from KINDS[panel["type"]](drawing)


def _box(place: Json, top: int) -> Box:
    column = (WIDTH - GAP) / COLUMNS
    return Box(
        GAP + place["x"] * column,
        38 + (place["y"] - top) * (ROW + GAP),
        place["w"] * column - GAP,
        place["h"] * (ROW + GAP) - GAP,
    )
