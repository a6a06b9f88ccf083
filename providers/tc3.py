"""TC3-HMAC-SHA256, Tencent Cloud's signature (docs 382/38766)."""

import time
from collections.abc import Iterable
from hashlib import sha256
from hmac import digest

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
        self._derived = (-1, "", b"")

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
        signed = tuple(headers)
        names = ";".join(name for name, _ in signed)
        lines = "".join(f"{name}:{value.strip().lower()}\n" for name, value in signed)
        canonical = f"{method}\n/\n{query}\n{lines}\n{names}\n{sha256(body).hexdigest()}"
        scope, key = self._day_key(timestamp)
        text = f"{ALGORITHM}\n{timestamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = digest(key, text.encode(), "sha256").hex()
        return f"{ALGORITHM} Credential={self._id}/{scope}, SignedHeaders={names}, Signature={signature}"

    def _day_key(self, timestamp: int) -> tuple[str, bytes]:
        day, scope, key = self._derived
        if day != timestamp // _DAY:
            date = time.strftime("%Y-%m-%d", time.gmtime(timestamp))
            scope = f"{date}/{self._service}/tc3_request"
            key = self._secret
            for part in scope.split("/"):
                key = digest(key, part.encode(), "sha256")
            self._derived = (
                timestamp // _DAY,
                scope,
                key,
            )  # one assignment: other threads see all of it or nothing
        return scope, key
