"""Addresses in the settings: a provider's base URL, the Redis URL."""

import ipaddress
import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from config.faults import wrong
from otpreport import address
from otpreport.place import as_ours
from providers.endpoint import Endpoint


def check_endpoint(value: str) -> str:
    """Return the base URL without a trailing slash.

    Plain http would send reports unencrypted, so it is allowed only for this host and for names without a dot
    (a container next to this one), which no provider on the internet has.
    """
    try:
        url = Endpoint.parse(value).url
    except ValueError:
        raise wrong("is not a base URL", "write https://host or https://host:port, without a path") from None
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" and re.search("[.:]", host) and not is_loopback(host):
        raise wrong("would send reports unencrypted over the network", "write https://")
    return url.removesuffix("/")


def check_redis_url(value: SecretStr) -> SecretStr:
    """Return the URL in our own spelling if it can be parsed."""
    text = as_ours(value.get_secret_value())
    example = "redis://host:6379/0, rediss://..., unix:///file or sentinel://host:26379,host:26379/service/0"
    fault = wrong("is not a Redis URL", f"write {example}, with special characters of a password as %XX")
    try:
        address.read(text)
    except address.UnknownOptionError as error:
        raise wrong(error.problem, error.fix) from None
    except ValueError:
        raise fault from None
    if re.search(r"[\s\0]", text):
        raise fault
    return SecretStr(text)


def is_loopback(host: str) -> bool:
    """Return whether this is an address of this machine alone, as 127.0.0.1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
