"""Outbound HTTP proxies: an account's own, or the one that the environment names."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

DIRECT = "none"
"""The value of PROXY with which no proxy is used, whatever the environment names."""

FORM = (
    f"write http://host:port or https://host:port, with user:password@ before the host if needed, or {DIRECT}"
)

_NAMED_BY = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTED_BY = ("no_proxy", "NO_PROXY")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ProxyServer:
    """A proxy that is asked to CONNECT; `encrypted`: over TLS. User and password are decoded, and hidden."""

    host: str
    port: int
    encrypted: bool = False
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> "ProxyServer":
        """Read `http[s]://[user:password@]host[:port]`, as curl also without a scheme; ValueError for anything else."""
        parts = urlsplit(text if "://" in text else f"http://{text}")
        more = parts.path.strip("/") + parts.query + parts.fragment
        if parts.scheme not in _PORTS or not parts.hostname or more or re.search("[^!-~]", text):
            raise ValueError("no HTTP proxy")
        port, encrypted = parts.port or _PORTS[parts.scheme], parts.scheme == "https"
        return cls(
            parts.hostname, port, encrypted, unquote(parts.username or ""), unquote(parts.password or "")
        )

    def __str__(self) -> str:
        """Return its URL without user and password."""
        return f"http{'s' * self.encrypted}://{hop(self.host, self.port)}"


def hop(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def named_for(endpoint: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that names a proxy for an endpoint, and its value; None to go there directly.

    HTTPS_PROXY, ALL_PROXY and NO_PROXY, in lower case first. NO_PROXY lists names with all below them, addresses,
    networks (10.0.0.0/8), each also with a port, or `*`. A proxy is never used for this machine, nor for plain http,
    which only goes to a container beside it.
    """
    variable = next((name for name in _NAMED_BY if environment.get(name)), None)
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if variable is None or parts.scheme != "https" or host == "localhost":
        return None
    excepted = next((environment[name] for name in _EXCEPTED_BY if environment.get(name)), "")
    if _is_loopback(host) or any(_excepts(entry, host, parts.port or 443) for entry in excepted.split(",")):
        return None
    return variable, environment[variable]


def _excepts(entry: str, host: str, port: int) -> bool:
    entry = entry.strip().lower()
    name, colon, its_port = entry.rpartition(":")
    if colon and its_port.isdigit() and ("]" in name or ":" not in name):
        if int(its_port) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").removeprefix(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
