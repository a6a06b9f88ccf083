"""A real Prometheus that scrapes a test's processes each second."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.wait import until
from worker.embedded import free_port

BINARY = "prometheus"

Vector = dict[tuple[str, ...], float]


class Prometheus:
    """Start a server with its own configuration and data; `jobs` are ports of 127.0.0.1 to scrape."""

    def __init__(self, folder: Path, jobs: Mapping[str, Sequence[int]]) -> None:
        self._folder = folder
        self._jobs = jobs
        self._url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir()
        config = self._folder / "prometheus.yml"
        config.write_text(json.dumps(self._configuration()))  # JSON is YAML
        arguments = [
            BINARY,
            f"--config.file={config}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self._url.removeprefix('http://')}",
        ]
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        until(self._is_ready)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)

    def query(self, expression: str, *labels: str) -> Vector:
        """Return the values of an expression by the values of these labels, that `job` is one of or not."""
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return {
            tuple(row["metric"].get(label, "") for label in labels): float(row["value"][1]) for row in result
        }

    def _configuration(self) -> dict[str, object]:
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            for name, ports in self._jobs.items()
        ]
        return {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self._url + path, timeout=10) as answer:
            return json.load(answer)
