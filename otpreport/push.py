"""A write to Redis, and the error when it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import hiredis

from otpreport.errors import OtpreportError


class Unavailable(OtpreportError):  # noqa: N818 - a state of Redis, not an error of ours
    """Redis did not take the write; `reason` says why, and whether it may have arrived after all."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_pack = cast("Callable[[tuple[str | bytes, ...]], bytes]", hiredis.pack_command)  # its stub knows one item


@dataclass(slots=True)  # a frozen one takes three times as long to make
class Push:
    """Messages for the left end of one Redis list."""

    key: str
    messages: Sequence[bytes]

    def packed(self) -> bytes:
        """Return the LPUSH command in Redis' protocol."""
        if len(self.messages) == 1:  # a login's own report: in half of the time
            (message,) = self.messages
            return b"%b%d\r\n%b\r\n" % (_head(self.key), len(message), message)
        return _pack(("LPUSH", self.key, *self.messages))


@lru_cache(1024)
def _head(key: str) -> bytes:
    """Return an LPUSH of one message, up to its length."""
    name = key.encode()
    return b"*3\r\n$5\r\nLPUSH\r\n$%d\r\n%b\r\n$" % (len(name), name)
