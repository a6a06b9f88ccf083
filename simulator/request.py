"""A received request, and the provider call parsed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import orjson


class Request(NamedTuple):
    """An HTTP request; header names in lower case."""

    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class Call:
    """A provider call as far as it can be parsed; unreadable fields stay empty, and are refused later."""

    request: Request
    provider: str
    action: str
    key: str = ""
    message_id: str = ""
    verified: bool = True
    nonce: bytes = b""  # where the provider wants one: no two calls of a key may have the same
    query: str = ""  # as it is signed, where the provider puts parameters there
    parameters: Mapping[str, object] | None = None


class RefusedError(Exception):
    """The provider refuses a call with one of its codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def json_object(body: bytes) -> Mapping[str, object] | None:
    """Return the JSON object that a body is; None for any other."""
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return cast("Mapping[str, object]", found) if isinstance(found, dict) else None
