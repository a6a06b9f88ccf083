"""What a message says, however wrong it is: for people who look for it. `tasks/message.py` reads good ones."""

from __future__ import annotations

import json
import re
from binascii import a2b_base64
from collections.abc import Iterator
from typing import TypeAlias

import orjson

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_BODY = re.compile(rb'"body"\s*:\s*"([A-Za-z0-9+/]*)')
_MESSAGE_ID = re.compile(r'"message_id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)')


def body_of(raw: bytes) -> Json:
    """Return a message's body as JSON, or what else of it is JSON; None where nothing is."""
    message = _json(raw)
    if not isinstance(message, dict):
        return message
    body = message.get("body")
    if not isinstance(body, str):
        return message
    found = _json(body.encode(errors="surrogatepass"))
    return _json(_bytes(body.encode(errors="replace"))) if found is None else found


def message_ids(raw: bytes) -> frozenset[str]:
    """Return every message id in a message, also in one that was cut; a number counts as its digits."""
    body = body_of(raw)
    return frozenset(_ids(body)) if body is not None else frozenset(_ids_in_text(raw))


def _ids(value: Json) -> Iterator[str]:
    """Yield the message ids at any depth; what `_json` read is not nested deeply."""
    if isinstance(value, list):
        for part in value:
            yield from _ids(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name == "message_id" and isinstance(part, str | int):
                yield str(part)
            yield from _ids(part)


def _ids_in_text(raw: bytes) -> Iterator[str]:
    body = _BODY.search(raw)
    for text in (raw, _bytes(body[1]) if body else b""):
        for found in _MESSAGE_ID.finditer(text.decode(errors="replace")):
            try:
                yield str(json.loads(found[1]))
            except ValueError:  # an escape that JSON has not, a number without end
                yield found[1].strip('"')


def _bytes(text: bytes) -> bytes:
    """Return what base64 stands for, without what follows the last whole group."""
    try:
        return a2b_base64(text[: len(text) // 4 * 4])
    except ValueError:
        return b""


def _json(text: bytes) -> Json:
    """Parse JSON; None for what is none, or is nested so deeply that it can't be written again, inside a letter."""
    value: Json
    try:
        value = orjson.loads(text)
        orjson.dumps([[[[value]]]])
    except (ValueError, TypeError):
        return None
    return value
