"""The dashboard's file: what the code writes, in Grafana's words."""

import json
from html import escape
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from benchmarks.dashboard.__main__ import picture_of
from deploy.dashboard.__main__ import TARGET, text
from deploy.dashboard.panel import VERSION
from deploy.dashboard.query import ALL, select
from deploy.dashboard.rows.provider import RESULTS
from deploy.dashboard.rows.queue import OUTCOMES as DRAWN_OUTCOMES
from deploy.dashboard.rows.queue import PLACES
from deploy.dashboard.rows.row import AIM
from deploy.dashboard.rows.well import STATES
from providers.base import Result
from tasks.accounts.states import NAMES as KNOWN_STATES
from tests.support.board import FILE, Json, asked, board, metrics, panels
from tests.support.worker_process import ROOT
from worker.metrics import AGES, OUTCOMES

UNITS = {"bytes", "eps", "ops", "percentunit", "reqps", "s", "short"}
"""Those of Grafana's that are used: the list is in its @grafana/data, valueFormats/categories."""

KINDS = {"heatmap", "stat", "state-timeline", "timeseries"}

PANELS = panels()


def test_the_file_is_what_the_code_writes() -> None:
    """Whoever changes the code writes the file anew: python -m deploy.dashboard."""
    assert TARGET == FILE
    assert FILE.read_text() == text()


def test_grafana_can_take_it() -> None:
    """Numbers and titles are unique, units and kinds known, every question goes to the chosen Prometheus."""
    assert len({panel["id"] for panel in board()["panels"]}) == len(board()["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS} == UNITS
    assert {panel["type"] for panel in PANELS} == KINDS
    sources = [target["datasource"] for panel in PANELS for target in panel["targets"]]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert all(panel["description"] and len(panel["title"]) < 40 for panel in PANELS)


def test_no_panel_covers_another() -> None:
    """Every panel lies within the 24 columns, on a place of its own, in the order of reading."""
    places = [panel["gridPos"] for panel in board()["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not any(overlap(one, other) for one, other in combinations(places, 2))
    assert places == sorted(places, key=lambda place: (place["y"], place["x"]))


def overlap(one: Json, other: Json) -> bool:
    """Whether two places share a cell."""
    across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    return bool(across and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"])


def test_an_overlap_is_seen() -> None:
    """Two places that share one cell overlap; neighbours do not."""
    place = {"x": 0, "y": 0, "w": 4, "h": 4}
    assert overlap(place, {**place, "x": 3, "y": 3})
    assert not overlap(place, {**place, "x": 4})


def test_closed_sets_are_drawn_whole() -> None:
    """Each state, result, outcome and place of an event has its colour, and no other has."""
    assert {state.text for state in STATES} == set(KNOWN_STATES)
    assert set(RESULTS) == {result.value for result in Result}
    assert set(DRAWN_OUTCOMES) == set(OUTCOMES)
    assert set(PLACES) == {"ready", "leased", "scheduled"}


@pytest.mark.parametrize(
    ("labels", "selector"),
    [
        ({}, "otpreport_x{}"),
        ({"a": "b"}, 'otpreport_x{a="b"}'),
        ({"a": "!b"}, 'otpreport_x{a!="b"}'),
        ({"a": "~b|c"}, 'otpreport_x{a=~"b|c"}'),
        ({"a": "!~b|c", "d": "e"}, 'otpreport_x{a!~"b|c",d="e"}'),
    ],
)
def test_a_selector(labels: dict[str, str], selector: str) -> None:
    """A label's value begins with what is to be done with it."""
    assert select("x", ALL, **labels) == selector


def test_the_alerts_fit() -> None:
    """What is late on the dashboard is late for the alerts, by a bound of the histogram; each alert is marked."""
    rules = (ROOT / "deploy" / "alerts.yml").read_text()
    assert AIM in AGES
    assert f'otpreport_event_age_seconds_bucket{{le="{AIM}.0"}}' in rules
    groups = yaml.safe_load(rules)["groups"]
    names = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert names
    assert 'alertname=~"Otpreport.*"' in board()["annotations"]["list"][0]["expr"]
    assert all(name.startswith("Otpreport") for name in names)


def test_the_pictures_show_these_panels() -> None:
    """Whoever changes a row draws its picture anew: python -m benchmarks.dashboard; the page shows all of them."""
    page = (ROOT / "docs" / "operations.md").read_text()
    picture = Path()
    for panel in board()["panels"]:
        title = panel["title"]
        if panel["type"] == "row":
            picture = picture_of(title)
        assert f">{escape(title)}<" in picture.read_text() or f"⌄  {title}<" in picture.read_text(), title
        assert f"(dashboard/{picture.name})" in page


def test_every_question_names_its_metrics() -> None:
    """Each expression has a metric of ours, or of the process, that the check against Prometheus can look for."""
    named = {name for panel in PANELS for query in asked(panel) for name in metrics(query.expr)}
    assert all(metrics(query.expr) for panel in PANELS for query in asked(panel))
    assert all(name.startswith(("otpreport_", "process_")) for name in named)


def test_it_is_provisioned() -> None:
    """Grafana finds the folder that compose mounts, asks the Prometheus of compose, and lets nobody in unasked."""
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    grafana = compose["services"]["grafana"]
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    [provider] = yaml.safe_load((folder / "dashboards" / "otpreport.yml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert source["url"] == "http://prometheus:9090"
    scraping = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraping["scrape_interval"]
    assert grafana["image"] == f"grafana/grafana:{VERSION}"
    environment = grafana["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{FILE.name}"
    assert json.loads(FILE.read_text())["uid"] == "otpreport"
