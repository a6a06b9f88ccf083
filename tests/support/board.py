"""The Grafana dashboard as it is shipped, and its questions as Grafana would send them to Prometheus."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tests.support.prometheus import Series

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards" / "otpreport.json"

# What Grafana has in its file is known to the code that reads it.
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a panel; `at_once` for the end of the time shown alone."""

    panel: str
    expr: str
    legend: str
    at_once: bool = False

    def filled(
        self, begin: float, end: float, *, account: str = ".*", instance: str = ".*", rate: str = "10s"
    ) -> str:
        """Return the expression with the variables that Grafana fills in; `rate` is the time a rate is taken over."""
        values = {
            "account": account,
            "instance": instance,
            "__rate_interval": rate,
            "__range": f"{math.ceil(end - begin)}s",
        }
        return re.sub(r"\$(\w+)", lambda found: values[found[1]], self.expr)

    def name(self, series: Series) -> str:
        """Return what Grafana calls a series; KeyError where the legend names a label that is not there."""
        return re.sub(r"{{(\w+)}}", lambda found: series.labels[found[1]], self.legend)


def board() -> Json:
    """Return the dashboard."""
    return cast("Json", json.loads(FILE.read_text()))


def panels() -> list[Json]:
    """Return the panels in their order, without the rows' headings."""
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def asked(panel: Json) -> Iterator[Asked]:
    """Yield the queries of a panel."""
    for target in panel["targets"]:
        yield Asked(panel["title"], target["expr"], target["legendFormat"], target["instant"])


def metrics(expr: str) -> set[str]:
    """Return the names of the metrics in an expression: what a selector's brace follows."""
    return set(re.findall(r"(\w+){", expr))
