"""ACS3-HMAC-SHA256, Alibaba Cloud's signature V3 (help.aliyun.com 2593177)."""

import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote

from providers.hmac_key import HmacKey

ALGORITHM = "ACS3-HMAC-SHA256"
_ESCAPES = {code: quote(chr(code), safe="") for code in range(128)}
EMPTY_BODY = sha256(b"").hexdigest()


class ACS3:
    """Sign requests with one key."""

    __slots__ = ("_id", "_key")

    def __init__(self, access_key_id: str, access_key_secret: str) -> None:
        self._id = access_key_id
        self._key = HmacKey(access_key_secret.encode())

    def authorization(
        self,
        query: str,
        headers: Iterable[tuple[str, str]],
        *,
        payload: str = EMPTY_BODY,
        method: str = "POST",
    ) -> str:
        """Return the `Authorization` of a request to `/`.

        `query` is canonical, `headers` are the signed ones, lower-case and sorted, and `payload` is the
        SHA-256 of the body in hex.
        """
        signed = tuple(headers)
        names = ";".join([name for name, _ in signed])
        lines = "".join([f"{name}:{value.strip()}\n" for name, value in signed])
        canonical = f"{method}\n/\n{query}\n{lines}\n{names}\n{payload}"
        text = f"{ALGORITHM}\n{sha256(canonical.encode()).hexdigest()}"
        signature = self._key.sign(text.encode()).hex()
        return f"{ALGORITHM} Credential={self._id},SignedHeaders={names},Signature={signature}"


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Encode parameters by RFC 3986, sorted by name."""
    return "&".join([f"{_encoded(name)}={_encoded(parameters[name])}" for name in sorted(parameters)])


@lru_cache(maxsize=8)
def acs_date(second: int) -> str:
    """Write UNIX seconds as `x-acs-date` wants them."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def _encoded(text: str) -> str:
    # Most names and values need no encoding, and quote() costs a sixth of a signed request each time.
    if not text.isascii():
        return quote(text, safe="")
    return text if text.isalnum() else text.translate(_ESCAPES)
