"""The class of a failed Redis call: Redis did not answer, or it refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

CODES: dict[type[RedisError], str] = {
    AuthenticationError: "NOAUTH",
    BusyLoadingError: "LOADING",
    NoPermissionError: "NOPERM",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
}
"""The codes that redis-py takes off the text of a reply."""

_PLACE_IN_SCRIPT = re.compile(r",? ?(on )?(script: [0-9a-f]*,? ?)?on @user_script:\d+\.?$")


@dataclass(frozen=True, slots=True)
class RedisFault:
    """The name of the log line, and the reason with Redis' own code where it has one."""

    event: str
    reason: str

    @classmethod
    def of(cls, error: RedisError | OSError) -> RedisFault:
        """Say what happened."""
        text = " ".join(_PLACE_IN_SCRIPT.sub("", str(error)).split())
        for kind, code in CODES.items():
            if isinstance(error, kind):
                return cls("redis refuses", text if text.startswith(code) else f"{code} {text}")
        if isinstance(error, ResponseError):
            return cls("redis refuses", text)
        kind = type(error) if isinstance(error, RedisError) else RedisError
        return cls("redis unreachable", f"{kind.__name__}: {text}")

    @property
    def sentence(self) -> str:
        """The reason that /readyz gives."""
        return "redis is unreachable" if self.event == "redis unreachable" else f"{self.event}: {self.reason}"
