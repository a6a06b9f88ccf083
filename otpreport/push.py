"""A write to Redis, and the error when it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import hiredis

from otpreport.errors import OtpreportError


class Unavailable(OtpreportError):  # noqa: N818 - a state of Redis, not an error of ours
    """Redis did not take the write; `reason` says why, and whether it may have arrived after all."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_pack = cast("Callable[[tuple[str | bytes, ...]], bytes]", hiredis.pack_command)  # its stub knows one item


@dataclass(frozen=True, slots=True)
class Push:
    """Messages for the left end of one Redis list."""

    key: str
    messages: Sequence[bytes]


def packed(pushes: Iterable[Push]) -> bytes:
    """Return their LPUSH commands in Redis' protocol."""
    return b"".join([_pack(("LPUSH", push.key, *push.messages)) for push in pushes])
