"""How delivered events are remembered: for how long, and in which compact form."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from tasks.shared import BUCKET_BITS, DEFAULT_WIDTH


@dataclass(slots=True)  # plain: one is made for each report
class Fingerprint:
    """79 bits of a hash of (account, message id): 17 choose the set, 62 are the member, one more says true or false."""

    bucket: int
    number: int

    @classmethod
    def of(cls, account: str, message_id: str) -> Fingerprint:
        """Return the fingerprint of an event; a collision among a hundred million has odds of 1 in 10**8."""
        digest = hashlib.blake2b(f"{account}\0{message_id}".encode(), digest_size=11).digest()
        bits = int.from_bytes(digest, "little")
        return cls((bits & 0xFFFFFF) >> (24 - BUCKET_BITS), bits >> 25)

    @property
    def claim(self) -> str:
        """The field under which a taken event owns its message id."""
        return f"{self.bucket}:{self.number}"

    def member(self, *, verified: bool) -> str:
        """Return the signed 64-bit member of the set."""
        return str((self.number & ~1 | verified) - 2**62)


@dataclass(frozen=True, slots=True)
class Remembered:
    """For how long delivered events are remembered: `ttl` in seconds, kept in generations of half of it.

    A look-up reads three, so that those which are complete span it (remembered.lua).
    """

    ttl: float = 2.0 * DEFAULT_WIDTH

    @property
    def width(self) -> int:
        """Seconds that one generation spans."""
        return math.ceil(self.ttl / 2)
