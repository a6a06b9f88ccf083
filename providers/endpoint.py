"""A provider's base URL, brought to the one form that is signed."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORM = "an endpoint is http://host[:port] or https://host[:port], and no more"
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go: `url` ends in `/`, `host` is the value that HTTP clients send as `Host`."""

    url: str
    host: str

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read `scheme://host[:port]`; ValueError (which never shows what was given) for anything else.

        HTTP clients lower the host's case and drop a default port, so what is signed has to do the same.
        """
        try:
            parts = urlsplit(text)
            host = _host(parts)
        except ValueError:
            raise ValueError(_FORM) from None
        if not host:
            raise ValueError(_FORM)
        return cls(f"{parts.scheme}://{host}/", host)


def _host(parts: SplitResult) -> str:
    name = parts.hostname or ""
    plain = parts.path in {"", "/"} and not parts.query and not parts.fragment and "@" not in parts.netloc
    if not plain or parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(name):
        return ""
    bracketed = f"[{name}]" if ":" in name else name
    default = parts.port in {None, _DEFAULT_PORTS[parts.scheme]}
    return bracketed if default else f"{bracketed}:{parts.port}"
