"""A real Alertmanager with the configuration that is shipped, and somebody who is told."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.support.alerts import FOLDER, read
from tests.support.configured import Configured

BINARY = "prometheus-alertmanager"

QUICK = {"group_wait": "1s", "group_interval": "1s"}
"""In place of the minutes of a fleet."""


@dataclass(frozen=True, slots=True)
class Told:
    """An alert as a receiver was told of it."""

    receiver: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels["alertname"]


class Listener:
    """Take what is sent to every receiver, as a pager's webhook would."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        told = self.told

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.extend(
                    Told(message["receiver"], alert["status"], alert["labels"], alert["annotations"])
                    for alert in message["alerts"]
                )
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library has it
                """Be silent."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def names(self, **labels: str) -> set[str]:
        """Return the alerts that were told with these labels."""
        return {told.name for told in list(self.told) if labels.items() <= told.labels.items()}


class Alertmanager(Configured):
    """Start it with deploy/alertmanager.yml, but that all receivers are `listener`, and told at once.

    Without `inhibiting` no alert holds another one back.
    """

    binary = BINARY
    name = "alertmanager"

    def __init__(self, folder: Path, listener: Listener, *, inhibiting: bool = True) -> None:
        super().__init__(folder)
        self._inhibiting = inhibiting
        self._listener = listener

    def post(self, alerts: Iterable[Mapping[str, str]]) -> None:
        """Let alerts with these labels fire, as Prometheus would."""
        body = json.dumps([{"labels": dict(labels)} for labels in alerts]).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def held_back(self) -> set[tuple[str, str]]:
        """Return the alerts that another one inhibits: name and account."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=10) as answer:
            alerts: list[dict[str, Any]] = json.load(answer)
        inhibited = [alert["labels"] for alert in alerts if alert["status"]["inhibitedBy"]]
        return {(labels["alertname"], labels.get("account", "")) for labels in inhibited}

    def _configuration(self) -> dict[str, Any]:
        config = read(FOLDER / "alertmanager.yml")
        config["route"] |= QUICK
        config["route"]["routes"] = [route | QUICK for route in config["route"]["routes"]]
        for receiver in config["receivers"]:
            receiver["webhook_configs"] = [{"url": self._listener.url}]
        if not self._inhibiting:
            config["inhibit_rules"] = []
        return config

    def _arguments(self, data: Path) -> list[str]:
        return [f"--storage.path={data}", "--cluster.listen-address="]
