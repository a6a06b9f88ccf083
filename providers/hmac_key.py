"""HMAC with a key that signs often (RFC 2104): what the key costs is paid once, half of a short signature."""

import hashlib

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class HmacKey:
    """A key, hashed already; `method` is a name that hashlib knows."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, method: str = "sha256") -> None:
        block = hashlib.new(method).block_size
        padded = (key if len(key) <= block else hashlib.new(method, key).digest()).ljust(block, b"\0")
        self._inner = hashlib.new(method, padded.translate(_INNER))
        self._outer = hashlib.new(method, padded.translate(_OUTER))

    def sign(self, text: bytes) -> bytes:
        """Return the HMAC of a text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()
