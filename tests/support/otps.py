"""The script that tracks OTPs on a real server, with a clock that the test sets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import redis

from tasks.fleet.snapshot import SnapshotReader
from tasks.keys import Keys
from tasks.script import text_of
from tasks.tracking.otps import Otps

ACCOUNT = "aws"
CLOCK = "the-clock-of-the-test"
_TIME = "redis.call('TIME')"
NEVER = -1


class Tracking:
    """Whoever tracks the account: any number of these are workers beside each other.

    Each call is given the numbers of track.lua; the clock stands still until it is set forward.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = "", ttl: int = 86_400) -> None:
        text = text_of("tracking/track.lua")
        assert text.count(_TIME) == 1
        self.client: Any = client
        self.keys = Keys(prefix)
        self._script = client.register_script(
            text.replace(_TIME, f"redis.call('HMGET', '{CLOCK}', 's', 'us')")
        )
        self._width = ttl // 2
        if not self.client.exists(CLOCK):
            self.set_clock(int(time.time()))

    @property
    def now(self) -> int:
        """The clock of the test, in seconds."""
        return int(self.client.hget(CLOCK, "s"))

    def set_clock(self, second: int) -> None:
        """Let it be this time."""
        self.client.hset(CLOCK, mapping={"s": second, "us": 0})

    def tell(self, *notices: str | bytes) -> None:
        """Let an app write notices, in this order."""
        self.client.lpush(self.keys.notices(ACCOUNT), *notices)

    def sent(self, message_id: str, *, ago: float = 0, expires_in: int = 60, country: str = "SG") -> None:
        """Let an app say that an OTP was sent."""
        self.tell(f"sent {round((self.now - ago) * 1000)} {expires_in} {country} {message_id}")

    def verified(self, message_id: str, *, ago: float = 0) -> None:
        """Let an app say that an OTP was verified."""
        self.tell(f"verified {round((self.now - ago) * 1000)} {message_id}")

    def track(
        self,
        seconds: int = 0,
        *,
        room: int = NEVER,
        notices: int = 100,
        closings: int = 200,
        deadline: int = 0,
        grace: int = 60,
        watch: int = 60,
        others: Sequence[str] = (),
    ) -> tuple[int, int, bool, list[str]]:
        """Set the clock forward and call: how much was noted and closed, whether there is more, faulty keys."""
        self.set_clock(self.now + seconds)
        numbers = [notices, closings, self._width, grace, watch, 10, 900]
        accounts = [number for name in (ACCOUNT, *others) for number in (name, room, deadline)]
        reply = self._script([], [self.keys.prefix, *numbers, *accounts])
        noted, closed, more, faults = reply
        return noted, closed, bool(more), [fault.decode() for fault in faults]

    def watch(self, seconds: int, **arguments: Any) -> int:
        """Let so much time pass with a call every two seconds; return how many OTPs were closed."""
        return sum(self.track(2, **arguments)[1] for _ in range(seconds // 2))

    @property
    def otps(self) -> Otps:
        """The account's OTPs as everybody sees them."""
        [account] = SnapshotReader(self.client, self.keys, {ACCOUNT: "group"}).read().accounts
        assert account.otps is not None
        return account.otps

    @property
    def gaps(self) -> Sequence[int]:
        """What does not add up."""
        return (self.otps.sent_gap, self.otps.unverified_gap)

    @property
    def negatives(self) -> list[bytes]:
        """The reports of OTPs not verified that wait, the oldest first."""
        waiting: list[bytes] = self.client.lrange(self.keys.ready(ACCOUNT)[-1], 0, -1)
        return waiting[::-1]
