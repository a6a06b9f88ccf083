"""AWS4-HMAC-SHA256, AWS' Signature Version 4 (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html)."""

import time
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, NamedTuple

from pydantic import Field, StringConstraints

from providers import base
from providers.base import Secret, Visible
from providers.hmac_key import HmacKey

Region = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[a-z0-9-]{1,32}$")]
"""A region; hosts are named by it."""

CREDENTIALS = frozenset({"access_key_id", "secret_access_key", "session_token"})


class Scheme(NamedTuple):
    """What the clouds that sign so call differently."""

    algorithm: str
    prefix: str
    """Of the secret, in the key that is derived from it."""
    ending: str
    """The last part of the scope."""


class KeyOptions(base.Options):
    """An access key; with a session token it is a temporary one."""

    access_key_id: Visible = Field(description="Access key ID.")
    secret_access_key: Secret = Field(description="Secret access key.")
    session_token: Secret | None = Field(
        default=None, description="Session token, for temporary credentials."
    )


AWS = Scheme("AWS4-HMAC-SHA256", "AWS4", "aws4_request")


class SigV4:
    """Sign requests to one service of one region with one key.

    The key derived for a UTC day is kept: it costs four of the five HMACs of a signature.
    """

    __slots__ = ("_derived", "_id", "_scheme", "_scope", "_secret")

    def __init__(self, key_id: str, secret: str, region: str, service: str, scheme: Scheme = AWS) -> None:
        self._id = key_id
        self._secret = f"{scheme.prefix}{secret}".encode()
        self._scheme = scheme
        self._scope = f"{region}/{service}/{scheme.ending}"
        self._derived = ("", "", HmacKey(b""))

    def authorization(
        self, date: str, headers: tuple[tuple[str, str], ...], payload: str, *, query: str = ""
    ) -> str:
        """Return the `Authorization` of a POST to `/`.

        `date` is that of `signing_date`, `query` is canonical, `headers` are the signed ones, lower-case and
        sorted, and `payload` is the SHA-256 of the body in hex.
        """
        algorithm = self._scheme.algorithm
        names = ";".join([name for name, _ in headers])
        lines = "".join([f"{name}:{value}\n" for name, value in headers])
        canonical = f"POST\n/\n{query}\n{lines}\n{names}\n{payload}"
        scope, key = self._day_key(date[:8])
        text = f"{algorithm}\n{date}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = key.sign(text.encode()).hex()
        return f"{algorithm} Credential={self._id}/{scope}, SignedHeaders={names}, Signature={signature}"

    def _day_key(self, day: str) -> tuple[str, HmacKey]:
        kept, scope, key = self._derived
        if kept != day:
            scope = f"{day}/{self._scope}"
            derived = self._secret
            for part in scope.split("/"):
                derived = HmacKey(derived).sign(part.encode())
            key = HmacKey(derived)
            self._derived = (day, scope, key)  # one assignment: other threads see all of it or nothing
        return scope, key


@lru_cache(maxsize=8)
def signing_date(second: int) -> str:
    """Write UNIX seconds as the signature wants them."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
