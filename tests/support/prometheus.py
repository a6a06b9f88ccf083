"""A real Prometheus that scrapes a test's processes each second."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.configured import Configured

BINARY = "prometheus"

Vector = dict[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a graph: its labels, and its values by UNIX time."""

    labels: dict[str, str]
    points: dict[float, float]


class Prometheus(Configured):
    """Start a server with its own configuration and data; `jobs` are ports of 127.0.0.1 to scrape.

    `rules` is a file of rules, which are looked at each second; what they find goes to the port `alertmanager`.
    """

    binary = BINARY
    name = "prometheus"

    def __init__(
        self,
        folder: Path,
        jobs: Mapping[str, Sequence[int]],
        *,
        rules: Path | None = None,
        alertmanager: int | None = None,
    ) -> None:
        super().__init__(folder)
        self._rules = rules
        self._alertmanager = alertmanager
        self._jobs = jobs

    def query(self, expression: str, *labels: str) -> Vector:
        """Return the values of an expression by the values of these labels, that `job` is one of or not."""
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return {
            tuple(row["metric"].get(label, "") for label in labels): float(row["value"][1]) for row in result
        }

    def graph(self, expression: str, begin: float, end: float, step: float = 1.0) -> list[Series]:
        """Return the values of an expression from one UNIX time to another, as a graph asks for them."""
        asked = {"query": expression, "start": begin, "end": end, "step": step}
        answer = self._get("/api/v1/query_range?" + urllib.parse.urlencode(asked))
        rows: list[dict[str, Any]] = answer["data"]["result"]
        return [Series(row["metric"], {time: float(text) for time, text in row["values"]}) for row in rows]

    def label_values(self, label: str, metric: str) -> set[str]:
        """Return every value of a label of a metric."""
        answer = self._get(f"/api/v1/label/{label}/values?" + urllib.parse.urlencode({"match[]": metric}))
        return set(answer["data"])

    def firing(self) -> dict[str, dict[str, str]]:
        """Return the alerts that fire, by name, each with its labels."""
        alerts: list[dict[str, Any]] = self._get("/api/v1/alerts")["data"]["alerts"]
        return {
            alert["labels"]["alertname"]: alert["labels"] for alert in alerts if alert["state"] == "firing"
        }

    def rule_faults(self) -> dict[str, str]:
        """Return what is wrong with each rule that could not be evaluated, or was not yet."""
        groups: list[dict[str, Any]] = self._get("/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert rules
        return {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"}

    def _configuration(self) -> dict[str, object]:
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            for name, ports in self._jobs.items()
        ]
        times = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
        told = [f"127.0.0.1:{self._alertmanager}"] if self._alertmanager else []
        return {
            "global": times,
            "scrape_configs": jobs,
            "rule_files": [str(self._rules)] if self._rules else [],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": told}]}]},
        }

    def _arguments(self, data: Path) -> list[str]:
        return [f"--storage.tsdb.path={data}"]

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)
