"""What Redis remembers of an event and its OTP, once both have ended."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.find.otps import ClosedFingerprint, ClosedOtp
from tasks.keyspace import redis_time_us
from tasks.memory import DeliveredMemory


class EndedMemory(DeliveredMemory):
    """The sets of delivered events and of closed OTPs; every call raises `redis.RedisError` when Redis is away."""

    def recall_closed(self, account: str, message_id: str) -> Iterator[ClosedOtp]:
        """Yield what is remembered of an OTP whose time is over."""
        fingerprint = ClosedFingerprint.of(account, message_id)
        now = redis_time_us(self._client) / 1_000_000
        spans = self._spans(now)
        keys = [self._keys.closed_otps(generation, fingerprint.bucket) for _, generation in spans]
        known = self._look((key, str(member)) for key in keys for member in fingerprint.members)
        found = [(span, known[3 * i + 1 : 3 * i + 3]) for i, span in enumerate(spans) if known[3 * i]]
        if found:
            from_ms, until_ms = self._between([span for span, _ in found], now)
            unverified, unmatched = (any(each[i] for _, each in found) for i in (0, 1))
            yield ClosedOtp(account, from_ms, until_ms, not unverified, unmatched)
