"""The whole dashboard, in the form that Grafana imports."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.dashboard.look import RED, Json
from deploy.dashboard.panel import SOURCE
from deploy.dashboard.rows.conversion import CONVERSION
from deploy.dashboard.rows.provider import PROVIDER
from deploy.dashboard.rows.queue import QUEUE
from deploy.dashboard.rows.rate import RATE
from deploy.dashboard.rows.redis import REDIS
from deploy.dashboard.rows.row import Row
from deploy.dashboard.rows.well import WELL
from deploy.dashboard.rows.workers import WORKERS

ROWS = (WELL, RATE, QUEUE, PROVIDER, CONVERSION, WORKERS, REDIS)

COLUMNS = 24
SCHEMA = 41
"""The schema of Grafana 12; older ones read it too."""

VARIABLES = {
    "account": ("Account", "otpreport_account_state", "account"),
    "instance": ("Worker", "otpreport_concurrency", "instance"),
}
"""What can be chosen: its heading, and the label of the metric that its values are."""

FIRING = 'ALERTS{alertname=~"Otpreport.*", alertstate="firing"}'
"""What is marked in every graph: our alerts, for as long as they fire."""


def dashboard() -> Json:
    """Return the dashboard."""
    return {
        "uid": "otpreport",
        "title": "otpreport",
        "description": "Conversion reports to SMS providers. Generated: python -m deploy.dashboard",
        "tags": ["otpreport"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [],
        "templating": {"list": [_source(), *(_variable(name) for name in VARIABLES)]},
        "annotations": {"list": [_firing()]},
        "panels": list(_panels()),
    }


def _panels() -> Iterator[Json]:
    """Yield each row's heading and its panels, row under row, with numbers from 1."""
    number = y = 0
    for row in ROWS:
        number += 1
        yield _heading(row, number, y)
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield panel.json(number, x, y)
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _heading(row: Row, number: int, y: int) -> Json:
    place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
    return {
        "id": number,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": place,
        "panels": [],
    }


def _source() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "regex": "",
        "options": [],
        "current": {},
    }


def _variable(name: str) -> Json:
    label, metric, of = VARIABLES[name]
    query = f"label_values({metric}, {of})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"qryType": 1, "query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "regex": "",
        "options": [],
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _firing() -> Json:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": RED,
        "expr": FIRING,
        "titleFormat": "{{alertname}}",
        "textFormat": "{{account}}",
        "tagKeys": "severity",
        "step": "10s",
    }
