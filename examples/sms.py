"""Stands for your SMS provider's SDK: "sends" a code by printing it."""

import itertools
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

_serial = itertools.count(1)


@dataclass(frozen=True)
class SentCode:
    """A code on its way, and what is needed to report what became of it."""

    code: str
    message_id: str  # Tencent calls it SerialNo, Alibaba MessageId
    sent_at: datetime


def send_code(phone: str) -> SentCode:
    """Send a new code to a phone."""
    sent = SentCode(f"{secrets.randbelow(10**6):06}", f"2640:{next(_serial)}", datetime.now(UTC))
    print(f"SMS to {phone}: {sent.code} is your code", flush=True)
    return sent
