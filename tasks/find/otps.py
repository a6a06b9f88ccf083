"""What is known of one OTP: a notice that waits, an OTP that is open, or one that is remembered as closed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from tasks.shared import EPOCH, FLAGS, HALF, LIVES, SHIFT
from tasks.tracking.tracker import Times

_TIMES = Times()
_NOTICE = re.compile(rb"(sent|verified) (\d{1,15}) (?:\d{1,15} [A-Z]{2} )?(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NoticePlace:
    """An app told that it was sent, or `verified`, at `at_ms`; no worker has noted that yet."""

    account: str
    verified: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class OpenOtp:
    """It was sent, and its time ends at `expires_ms`; it closes at `closes_ms` or later.

    `sent_ms` is None where that was told only after its time was over.
    """

    account: str
    sent_ms: int | None
    expires_ms: int
    closes_ms: int
    country: str
    verified: bool

    @classmethod
    def read(cls, account: str, score: float) -> OpenOtp:
        """Read the score of `open:<account>`."""
        rest, flags = divmod(int(score), FLAGS)
        due, expires_in = divmod(rest, LIVES)
        closes = due + EPOCH
        expires = closes - _TIMES.grace
        first, second = divmod(flags // 2, 26)
        return cls(
            account,
            (expires - expires_in) * 1000 if expires_in else None,
            expires * 1000,
            closes * 1000,
            chr(65 + first) + chr(65 + second),
            bool(flags % 2),
        )


@dataclass(frozen=True, slots=True)
class EarlyOtp:
    """It was verified at `verified_ms`, and nobody told that it was sent; that is given up at `until_ms`."""

    account: str
    verified_ms: int
    until_ms: int

    @classmethod
    def read(cls, account: str, score: float) -> EarlyOtp:
        """Read the score of `early:<account>`."""
        until, ago = divmod(int(score), SHIFT)
        until += EPOCH
        return cls(account, (until - _TIMES.early - (ago - HALF)) * 1000, until * 1000)


@dataclass(frozen=True, slots=True)
class ClosedOtp:
    """Its time was over between two times (ms).

    Not `verified`: in time nobody did. `unmatched`: verified, and nobody told in time that it was sent.
    """

    account: str
    from_ms: int
    until_ms: int
    verified: bool
    unmatched: bool


OtpPlace = NoticePlace | OpenOtp | EarlyOtp | ClosedOtp


@dataclass(frozen=True, slots=True)
class ClosedFingerprint:
    """The set in which a closed OTP is remembered, and its members (track.lua)."""

    bucket: str
    number: int

    @classmethod
    def of(cls, account: str, message_id: str) -> ClosedFingerprint:
        """Return that of an OTP."""
        digest = hashlib.sha1(f"{account}\0{message_id}".encode(), usedforsecurity=False).hexdigest()
        return cls(digest[16:20] + ("0" if digest[20] < "8" else "1"), int(digest[:13], 16))

    @property
    def members(self) -> tuple[int, int, int]:
        """The member that says that it was closed, that for not verified, and that for unmatched."""
        return self.number, -1 - self.number, -1 - self.number - 2**52


def notice_of(account: str, message_id: str, raw: bytes) -> NoticePlace | None:
    """Return what a notice says of an OTP; None if it is about another, or is none."""
    found = _NOTICE.fullmatch(raw)
    if found is None or found[3] != message_id.encode():
        return None
    return NoticePlace(account, found[1] == b"verified", int(found[2]))
