"""One panel of the dashboard, and what each kind of it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from string import ascii_uppercase

from deploy.dashboard.look import PLAIN, Json, Name, Steps, coloured, dashed, mappings
from deploy.dashboard.query import Query

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
VERSION = "12.1.1"
"""The Grafana that docker-compose.yml runs; later ones migrate what they read."""

_LEGEND: Json = {"displayMode": "list", "placement": "bottom", "showLegend": True}
_TOOLTIP: Json = {"mode": "multi", "sort": "desc"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel; `width` is of 24 columns, `height` in rows of 30 pixels; `unit` is one of Grafana's.

    A graph with `line` draws its thresholds as dashed lines; `stack` piles the series up, `fill` is how opaque (%)
    they are otherwise; series whose names match the pattern `dashed` are so.
    """

    title: str
    text: str
    unit: str
    queries: tuple[Query, ...]
    width: int
    height: int = 8
    kind: str = "timeseries"
    steps: Steps = PLAIN
    names: tuple[Name, ...] = ()
    colours: dict[str, str] = field(default_factory=dict[str, str])
    line: bool = False
    stack: bool = False
    fill: int = 8
    dashed: str = ""
    least: float | None = 0
    most: float | None = None
    decimals: int | None = None

    def json(self, number: int, x: int, y: int) -> Json:
        """Return the panel as Grafana has it, at this place of the grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.text,
            "datasource": SOURCE,
            "pluginVersion": VERSION,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "targets": [_target(*pair) for pair in zip(ascii_uppercase, self.queries, strict=False)],
            "fieldConfig": {
                "defaults": self._defaults(),
                "overrides": [*coloured(self.colours), *dashed(self.dashed)],
            },
            "options": _OPTIONS[self.kind],
        }

    def _defaults(self) -> Json:
        limits = {"min": self.least, "max": self.most, "decimals": self.decimals}
        return {
            "unit": self.unit,
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
            "thresholds": self.steps.json(),
            "mappings": mappings(self.names),
            "custom": _custom(self),
            **{name: value for name, value in limits.items() if value is not None},
        }


def _target(letter: str, query: Query) -> Json:
    return {
        "refId": letter,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": "heatmap" if query.heatmap else "time_series",
        "instant": query.at_once,
        "range": not query.at_once,
    }


def _custom(panel: Panel) -> Json:
    match panel.kind:
        case "timeseries":
            return {
                "drawStyle": "line",
                "lineInterpolation": "linear",
                "lineWidth": 0 if panel.stack else 1,
                "fillOpacity": 70 if panel.stack else panel.fill,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"group": "A", "mode": "normal" if panel.stack else "none"},
                "thresholdsStyle": {"mode": "dashed" if panel.line else "off"},
            }
        case "state-timeline":
            return {"fillOpacity": 80, "lineWidth": 0}
        case _:
            return {}


_OPTIONS: dict[str, Json] = {
    "timeseries": {"legend": _LEGEND, "tooltip": _TOOLTIP},
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
        "wideLayout": True,
    },
    "state-timeline": {
        "alignValue": "left",
        "legend": _LEGEND,
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "exponent": 0.5,
            "fill": "dark-orange",
            "mode": "scheme",
            "reverse": False,
            "scale": "exponential",
            "scheme": "Oranges",
            "steps": 64,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
    },
}
