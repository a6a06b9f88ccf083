"""The alerts as they are shipped, their unit tests, and the metrics that the code really serves."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import yaml

from worker.reference.metrics import OPEN, exporter_metrics, worker_metrics

FOLDER = Path(__file__).parents[2] / "deploy"
RULES = FOLDER / "alerts.yml"
TESTS = sorted(FOLDER.glob("alerts*_test.yml"))

SCRAPED = {"fleet", "instance", "job"}
"""Labels that Prometheus adds, `fleet` as deploy/prometheus.yml tells it to."""

_SELECTOR = re.compile(r"(?<![\w:])(otpreport_\w+)(?!\w*:)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RECORDED = re.compile(r"\w+:\w+:\w+")

# What YAML holds is known to the test that reads it.
Yaml = dict[str, Any]
Known = Mapping[str, Mapping[str, set[str]]]


@dataclass(frozen=True, slots=True)
class Case:
    """One unit test of an alert."""

    alert: str
    name: str
    fires: bool
    series: tuple[str, ...]


def read(path: Path) -> Yaml:
    """Return what a file of YAML holds."""
    return cast("Yaml", yaml.safe_load(path.read_text()))


def rules(path: Path = RULES) -> list[Yaml]:
    """Return every rule."""
    return [rule for group in read(path)["groups"] for rule in group["rules"]]


def alerts() -> list[Yaml]:
    """Return the rules that alert."""
    return [rule for rule in rules() if "alert" in rule]


@functools.cache
def cases() -> tuple[Case, ...]:
    """Return every unit test of every alert."""
    return tuple(_cases())


def _cases() -> Iterator[Case]:
    for test in chain.from_iterable(read(path)["tests"] for path in TESTS):
        series = tuple(entry["series"] for entry in test["input_series"])
        for case in test["alert_rule_test"]:
            yield Case(case["alertname"], test["name"], bool(case["exp_alerts"]), series)


def known() -> Known:
    """Return the names of all samples, each with its labels and their values, none where the settings decide them."""
    found: dict[str, dict[str, set[str]]] = {}
    for metric in chain(worker_metrics(), exporter_metrics()):
        for sample in metric.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).update(() if value in OPEN else (value,))
    return found


def unknown(expression: str, metrics: Known, recorded: Iterable[str] = ()) -> Iterator[str]:
    """Yield what an expression, or a series, names that nobody serves or records."""
    for name, matchers in _SELECTOR.findall(expression):
        if name not in metrics:
            yield name
        else:
            yield from _unknown_values(name, matchers, metrics[name])
    labels = SCRAPED.union(*metrics.values())
    for grouping in _GROUPING.findall(expression):
        yield from (label for label in re.findall(r"\w+", grouping) if label not in labels)
    yield from set(_RECORDED.findall(expression)) - set(recorded)


def _unknown_values(metric: str, matchers: str, labels: Mapping[str, set[str]]) -> Iterator[str]:
    for label, operator, value in _MATCHER.findall(matchers):
        if label in SCRAPED:
            continue
        if label not in labels:
            yield f"{metric}{{{label}}}"
        values = value.split("|") if "~" in operator else [value]
        closed = labels.get(label)
        yield from (f"{metric}{{{label}={v}}}" for v in values if closed and v not in closed)
