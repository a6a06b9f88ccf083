"""TC3-HMAC-SHA256, Tencent Cloud's signature (docs 382/38766)."""

import time
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from providers.hmac_key import HmacKey

if TYPE_CHECKING:
    from _hashlib import HASH

ALGORITHM = "TC3-HMAC-SHA256"
_DAY = 86_400


class TC3:
    """Sign requests of one service with one key.

    The key derived for a UTC day is kept: it costs three of the four HMACs of a signature.
    """

    __slots__ = ("_derived", "_id", "_secret", "_service")

    def __init__(self, secret_id: str, secret_key: str, service: str) -> None:
        self._id = secret_id
        self._secret = b"TC3" + secret_key.encode()
        self._service = service
        self._derived = (-1, "", HmacKey(b""))

    def authorization(
        self,
        timestamp: int,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        method: str = "POST",
        query: str = "",
    ) -> str:
        """Return the `Authorization` of a request to `/`; `headers` are the signed ones, sorted by name."""
        names, head = _head(method, query, tuple(headers))
        canonical = head.copy()
        canonical.update(sha256(body).hexdigest().encode())
        scope, key = self._day_key(timestamp)
        text = f"{ALGORITHM}\n{timestamp}\n{scope}\n{canonical.hexdigest()}"
        signature = key.sign(text.encode()).hex()
        return f"{ALGORITHM} Credential={self._id}/{scope}, SignedHeaders={names}, Signature={signature}"

    def _day_key(self, timestamp: int) -> tuple[str, HmacKey]:
        day, scope, key = self._derived
        if day != timestamp // _DAY:
            date = time.strftime("%Y-%m-%d", time.gmtime(timestamp))
            scope = f"{date}/{self._service}/tc3_request"
            derived = self._secret
            for part in scope.split("/"):
                derived = HmacKey(derived).sign(part.encode())
            key = HmacKey(derived)
            # one assignment: other threads see all of it or nothing
            self._derived = (timestamp // _DAY, scope, key)
        return scope, key


@lru_cache(maxsize=64)
def _head(method: str, query: str, signed: tuple[tuple[str, str], ...]) -> tuple[str, "HASH"]:
    """Return the headers' names, and the hash so far of a canonical request, which only the body's hash follows."""
    names = ";".join(name for name, _ in signed)
    lines = "".join(f"{name}:{value.strip().lower()}\n" for name, value in signed)
    return names, sha256(f"{method}\n/\n{query}\n{lines}\n{names}\n".encode())
