"""The names under which the status page is served: any other may be a web page's that had its name point here."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container

_SINGLE_LABEL = re.compile(r"[a-z0-9_-]+", re.ASCII)
_PORT = re.compile(r":[0-9]*$", re.ASCII)


def is_ours(header: str, allowed: Container[str]) -> bool:
    """Whether a Host header names an address, this host, a name without a dot, or one of `allowed` (lower case).

    A page of elsewhere can let its own name point to 127.0.0.1 and then read what answers there; none of these
    names is one that it can own.
    """
    name = _PORT.sub("", header.strip().lower()).removesuffix(".")
    return name in allowed or _SINGLE_LABEL.fullmatch(name) is not None or _is_address(name)


def _is_address(name: str) -> bool:
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return False
    return True
