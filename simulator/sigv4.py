"""Signature Version 4 as AWS describes it, and as Volcengine does, who changed its names.

Sources: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
volcengine.com/docs/6369/67269. Nothing here is shared with the code that signs: the simulator judges it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from simulator.request import Request


@dataclass(frozen=True, slots=True)
class Scheme:
    """One cloud's names."""

    algorithm: bytes
    service: bytes
    ending: bytes  # of the scope
    prefix: bytes  # before the secret
    date_header: bytes
    needed: frozenset[bytes]  # headers that have to be signed


@dataclass(frozen=True, slots=True)
class Credential:
    """What `Authorization` says."""

    key: str
    date: bytes  # of the scope
    region: bytes
    signed: bytes
    signature: bytes


def credential(headers: Mapping[bytes, bytes], scheme: Scheme) -> Credential | None:
    """Read `Authorization`; None where it is not as documented."""
    match = _form(scheme).fullmatch(headers.get(b"authorization", b""))
    if match is None or not scheme.needed <= set(match[4].split(b";")):
        return None
    return Credential(match[1].decode("latin-1"), match[2], match[3], match[4], match[5])


def key_id(headers: Mapping[bytes, bytes]) -> str:
    """Return the key that `Authorization` names, however the rest of it looks."""
    found = re.search(rb"Credential=([^/,\s]+)", headers.get(b"authorization", b""))
    return found[1].decode("latin-1") if found else ""


def unix(date: bytes) -> float | None:
    """Read a date such as 20231114T221320Z; None where it is none."""
    if not re.fullmatch(rb"\d{8}T\d{6}Z", date):
        return None
    try:
        return datetime.strptime(date.decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def is_signed(request: Request, given: Credential, secret: str, scheme: Scheme) -> bool:
    """Say whether the signature is that of this request."""
    date = request.headers.get(scheme.date_header, b"")
    right = signature(request, given, secret, scheme)
    return given.date == date[:8] and hmac.compare_digest(right, given.signature)


def signature(request: Request, given: Credential, secret: str, scheme: Scheme) -> bytes:
    """Return the signature over the headers that are named as signed."""
    path, _, query = request.target.partition(b"?")
    lines = b"".join(
        b"%s:%s\n" % (name, b" ".join(request.headers.get(name, b"").split()))
        for name in given.signed.split(b";")
    )
    digest = hashlib.sha256(request.body).hexdigest().encode()
    parameters = b"&".join(sorted(query.split(b"&")))
    parts = (request.method, path, parameters, lines, given.signed, digest)
    canonical = hashlib.sha256(b"\n".join(parts)).hexdigest().encode()
    scope = b"/".join((given.date, given.region, scheme.service, scheme.ending))
    text = b"\n".join((scheme.algorithm, request.headers.get(scheme.date_header, b""), scope, canonical))
    return hmac.digest(_key(scheme.prefix + secret.encode(), scope), text, "sha256").hex().encode()


@lru_cache(maxsize=64)
def _key(secret: bytes, scope: bytes) -> bytes:
    key = secret
    for part in scope.split(b"/"):
        key = hmac.digest(key, part, "sha256")
    return key


@lru_cache(maxsize=8)
def _form(scheme: Scheme) -> re.Pattern[bytes]:
    return re.compile(
        rb"%s Credential=([^/,\s]+)/(\d{8})/([a-z0-9-]+)/%s/%s, *"
        rb"SignedHeaders=([a-z0-9-]+(?:;[a-z0-9-]+)*), *Signature=([0-9a-f]{64})"
        % (scheme.algorithm, scheme.service, scheme.ending)
    )
