"""What a call shows of who makes it, and where its path leads."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import unquote


def basic(headers: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Return user and password of HTTP's Basic scheme; empty where there are none."""
    scheme, _, coded = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def bearer(headers: Mapping[bytes, bytes], scheme: bytes = b"bearer") -> str:
    """Return the token after `Bearer`, or after another scheme in small letters; empty where there is none."""
    given, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.decode("latin-1") if given.lower() == scheme else ""


def same(given: str, expected: str) -> bool:
    """Compare secrets."""
    return hmac.compare_digest(given.encode(), expected.encode())


def segments(target: bytes) -> list[str]:
    """Return the segments of a path as they were before they were encoded; the query is left out."""
    path = target.partition(b"?")[0].decode("latin-1")
    return [unquote(part) for part in path.removeprefix("/").split("/")]
