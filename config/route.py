"""How an account's requests travel: through which proxy, whom they trust, as whom, and from which address."""

import contextlib
import ipaddress
import ssl
from collections.abc import Generator
from dataclasses import dataclass

from config.faults import wrong
from config.proxy import ProxyServer
from otpreport.errors import OtpreportError

_NO_KEY = "it holds no private key in PEM form"
_PROBLEMS = {
    "KEY_VALUES_MISMATCH": "its private key is not that of the first certificate in client_cert",
    "NO_CERTIFICATE_OR_CRL_FOUND": "it holds no certificate in PEM form",
    "NO_START_LINE": "it holds no certificate in PEM form",
    _NO_KEY: _NO_KEY,
}
"""What OpenSSL's reasons mean for these files."""


class UnusableFileError(OtpreportError, OSError):
    """A file of a route can't be used; `setting` is the one that names it."""

    def __init__(self, setting: str, file: str, problem: str) -> None:
        self.setting, self.file, self.problem = setting, file, problem
        super().__init__(f"{setting} {file}: {problem}")


@dataclass(frozen=True, slots=True)
class Route:
    """How requests travel; an empty field: as the system does it. `ca_bundle` replaces the system's authorities."""

    proxy: ProxyServer | None = None
    ca_bundle: str = ""
    client_cert: str = ""
    client_key: str = ""
    source_address: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read for TLS."""
        return tuple(file for file in (self.ca_bundle, self.client_cert, self.client_key) if file)

    def context(self) -> ssl.SSLContext:
        """Return a new context that verifies certificates; UnusableFileError names the file that can't be used."""
        with _blaming("ca_bundle", self.ca_bundle):
            context = ssl.create_default_context(cafile=self.ca_bundle or None)
        context.set_alpn_protocols(["http/1.1"])
        if self.client_cert:
            self._present_certificate(context)
        return context

    def _present_certificate(self, context: ssl.SSLContext) -> None:
        setting = "client_key" if self.client_key else "client_cert"
        key = self.client_key or self.client_cert

        def encrypted() -> str:  # OpenSSL would ask for the password at the terminal
            raise UnusableFileError(setting, key, "its private key is encrypted")

        # load_cert_chain does not say which of the two is wrong
        with _blaming("client_cert", self.client_cert):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.client_cert)
        with _blaming(setting, key):
            context.load_cert_chain(self.client_cert, key, password=encrypted)

    def __str__(self) -> str:
        """Return it in a line, without secrets; empty for one that is as the system has it."""
        words = {
            "proxy": str(self.proxy or ""),
            "ca_bundle": self.ca_bundle,
            "client_cert": self.client_cert,
            "source_address": self.source_address,
        }
        return ", ".join(f"{name} {value}" for name, value in words.items() if value)


DIRECT = Route()


def check_file(value: str) -> str:
    """Return the path of a file."""
    if "-----BEGIN" in value or not value.isprintable():
        fix = "give the path of the file, in a variable whose name does not end in _FILE"
        raise wrong("is the content of a file", fix)
    return value


def check_address(value: str) -> str:
    """Return an IP address in its usual spelling."""
    try:
        return str(ipaddress.ip_address(value)) if value else value
    except ValueError:
        fix = "write one of this machine's, such as 192.0.2.7 or 2001:db8::7"
        raise wrong("is not an IP address", fix) from None


@contextlib.contextmanager
def _blaming(setting: str, file: str) -> Generator[None]:
    try:
        yield
    except UnusableFileError:
        raise
    except ssl.SSLError as error:
        reason = error.reason or _NO_KEY
        problem = _PROBLEMS.get(reason, reason.lower().replace("_", " "))
        raise UnusableFileError(setting, file, problem) from None
    except OSError as error:
        raise UnusableFileError(setting, file, error.strerror or str(error)) from None
