"""Nonces that were seen."""

from __future__ import annotations


class Nonces:
    """Remember each nonce for one to two `lifetime`s (seconds), as 64-bit hashes in two generations."""

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._turned = 0.0
        self._young: set[int] = set()
        self._old: set[int] = set()

    def use(self, key: str, nonce: bytes, now: float) -> bool:
        """Take a nonce; False when this key used it before. `now`: monotonic seconds."""
        if now - self._turned > self._lifetime:
            self._old, self._young, self._turned = self._young, set(), now
        mark = hash((key, nonce))
        if mark in self._young or mark in self._old:
            return False
        self._young.add(mark)
        return True
