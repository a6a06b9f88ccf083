"""Whether the process on this machine can do its work, as its own `/readyz` says: for a container without curl."""

from __future__ import annotations

import http.client

from worker.cli.errors import DONE, NO, WRONG, CommandError
from worker.cli.session import settings_or_stop
from worker.health import ADDRESSES

NOT_HERE = "does a worker run here? Its log has the port, for --port"

TIMEOUT = 5.0
"""Seconds for the answer."""


def ready(port: int | None) -> int:
    """Print what the process on `port`, or else on the configured one, says of itself; NO when it is not ready."""
    host, port = ("127.0.0.1", port) if port else _configured()
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)  # it asks no proxy
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        fault = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(NO, f"{host}:{port} does not answer: {fault}: {NOT_HERE}") from error
    finally:
        connection.close()
    print(body)
    return DONE if answer.status == http.HTTPStatus.OK else NO


def _configured() -> tuple[str, int]:
    settings = settings_or_stop(keyless=True)
    port = settings.metrics_port
    if not port:
        raise CommandError(WRONG, "metrics_port is 0, any free port: take it from the log and give --port")
    return settings.metrics_host if settings.metrics_host not in ADDRESSES else "127.0.0.1", port
