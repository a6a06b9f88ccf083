"""A write to Redis, and the error when it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import hiredis

from otpreport.errors import OtpreportError


class Unavailable(OtpreportError):  # noqa: N818 - a state of Redis, not an error of ours
    """Redis did not take the write; `reason` says why, and whether it may have arrived after all."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)  # a frozen one takes three times as long to make
class Push:
    """Messages for the left end of one Redis list."""

    key: str
    messages: Sequence[bytes]

    def packed(self) -> bytes:
        """Return the LPUSH command in Redis' protocol."""
        command = ("LPUSH", self.key, *self.messages)
        return cast("bytes", hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub knows one item
