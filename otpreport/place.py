"""The spellings of a Redis URL, and what it may be called where others see it."""

from __future__ import annotations

import hashlib
import re

_ALSO = {
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+ssl": "rediss",
    "redis+tls": "rediss",
    "redis+socket": "unix",
    "redis-socket": "unix",
    "redis-sentinel": "sentinel",
    "redis+sentinel": "sentinel",
    "rediss-sentinel": "rediss-sentinel",
    "rediss+sentinel": "rediss-sentinel",
}
"""How other tools name the same schemes; `rediss-sentinel` is TLS to Redis and its sentinels."""


def as_ours(url: str) -> str:
    """Return the URL as this module writes it, from the spellings of Celery, Lettuce and other clients.

    Space, quotes and a byte order mark around it, and in `redis-sentinel://host/0#service` the place of the service,
    are theirs too.
    """
    url = url.strip("\ufeff\"' \t\r\n")
    scheme, colon, rest = url.partition("://")
    scheme = _ALSO.get(scheme.lower(), scheme.lower())
    if scheme.endswith("sentinel"):
        rest = _with_service(rest)
        if scheme == "rediss-sentinel":
            scheme, rest = "sentinel", f"{rest}{'&' if '?' in rest else '?'}ssl=true"
    elif scheme == "unix":
        rest = re.sub(r"([?&])(?:virtual_host|database)=", r"\1db=", rest)
    rest = re.sub(
        r"([?&]ssl_cert_reqs=)(?:ssl\.)?(?:CERT_)?(NONE|OPTIONAL|REQUIRED)\b",
        _lower,
        rest,
        flags=re.IGNORECASE,
    )
    return f"{scheme}{colon}{rest}"


def _with_service(rest: str) -> str:
    """Move the service from the fragment, where Lettuce has it, into the path."""
    before, _, service = rest.partition("#")
    if not service or "@" in service:
        return rest
    before, mark, query = before.partition("?")
    hosts, _, database = before.partition("/")
    return f"{hosts}/{service}" + (f"/{database}" if database else "") + mark + query


def _lower(found: re.Match[str]) -> str:
    return found[1] + found[2].lower()


def place(url: str) -> str:
    """Return the URL without user, password and options: safe to show."""
    scheme, _, rest = as_ours(url).partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def slug(url: str) -> str:
    """Return a file name for the place, the same for every user and password."""
    shown = place(url)
    digest = hashlib.sha256(shown.encode()).hexdigest()[:8]
    return f"{re.sub('[^A-Za-z0-9.]+', '-', shown)[:60]}-{digest}"
