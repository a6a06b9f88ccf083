"""Outbound HTTP proxies: an account's own, or the one that the environment names."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from config.endpoint import is_loopback
from config.faults import wrong
from config.sources import bare

NONE = "none"
"""The value of PROXY, or of HTTPS_PROXY, with which no proxy is used."""

FORM = (
    "write http://host:port or https://host:port, an IPv6 address in brackets, "
    f"with user:password@ before the host if needed (special characters as %XX), or {NONE}"
)

_NAMED_BY = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTED_BY = ("no_proxy", "NO_PROXY")
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)
_SCOPED = re.compile(r"\[[^\]]*%[^\]]*\](?::\d*)?/?$")


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
        """Read `http[s]://[user:password@]host[:port]`, as curl also `host:port`; ValueError for anything else."""
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, more = parts.hostname or "", parts.path.strip("/") + parts.query + parts.fragment
        odd = more or not _HOST.fullmatch(host) or re.search(r"[\s\0-\x1f]", text)
        vague = parts.port is None and "://" not in text  # a word: off, false, direct
        if parts.scheme not in _PORTS or odd or vague or parts.port == 0:
            raise ValueError("no HTTP proxy")
        port, encrypted = parts.port or _PORTS[parts.scheme], parts.scheme == "https"
        return cls(host, port, encrypted, _decoded(parts.username), _decoded(parts.password))

    def __str__(self) -> str:
        """Return its URL without user and password."""
        return f"http{'s' * self.encrypted}://{hop(self.host, self.port)}"


def check_proxy(value: SecretStr) -> SecretStr:
    """Return the value of PROXY if it is one."""
    chosen_proxy(value)
    return value


def chosen_proxy(value: SecretStr | None) -> ProxyServer | None:
    """Return the proxy that PROXY names; None for none."""
    if value is None or _is_none(value.get_secret_value()):
        return None
    try:
        return ProxyServer.parse(value.get_secret_value())
    except ValueError:
        raise wrong(problem_of(value.get_secret_value()), FORM) from None


def problem_of(text: str) -> str:
    """Say what a value is that `ProxyServer.parse` refuses."""
    if text.lower().startswith("socks"):
        return "is a SOCKS proxy, which can't be used"
    if _SCOPED.search(text):  # uvloop looks such an address up without its scope, and connects nowhere
        return "is an IPv6 address with a scope (%), which can't be used"
    return "is not an HTTP proxy"


def _is_none(text: str) -> bool:
    return text.lower() == NONE


def _decoded(text: str | None) -> str:
    return unquote(text or "", errors="surrogateescape")  # a password may be no UTF-8


def hop(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def named_for(endpoint: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that names a proxy for an endpoint, and its value; None to go there directly.

    HTTPS_PROXY, ALL_PROXY and NO_PROXY, in lower case first. NO_PROXY lists, with commas or spaces, names with all
    below them, addresses, networks (10.0.0.0/8) and patterns (10.*), each also with a port. A proxy is never used for
    this machine, nor for plain http, which only goes to a container beside it.
    """
    variable, value = _first(_NAMED_BY, environment)
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").removesuffix(".")
    if not value or _is_none(value) or parts.scheme != "https" or host == "localhost" or is_loopback(host):
        return None
    _, excepted = _first(_EXCEPTED_BY, environment)
    if any(_excepts(entry.lower(), host, parts.port or 443) for entry in re.split(r"[\s,;]+", excepted)):
        return None
    return variable, value


def _first(names: Sequence[str], environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the first of the variables that is not empty, and its value."""
    return next(((name, value) for name in names if (value := bare(environment.get(name, "")))), ("", ""))


def _excepts(entry: str, host: str, port: int) -> bool:
    name, colon, its_port = entry.rpartition(":")
    if colon and its_port.isdecimal() and ("]" in name or ":" not in name):
        if its_port.lstrip("0") != str(port):  # it may have more digits than Python makes a number of
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").removeprefix(".").removesuffix(".")
        return fnmatchcase(host, entry) or (bool(name) and (host == name or host.endswith(f".{name}")))
