"""Read a time as producers of other languages and tools write it; our own client writes UNIX milliseconds.

ISO 8601 text with a zone, as in https://www.rfc-editor.org/rfc/rfc3339 and somewhat wider: PHP writes `+0800`,
PostgreSQL a space and `+08`, Java may leave the seconds out. kombu writes a datetime as an object around such a text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

_DAY = "(?:0[1-9]|[12][0-9]|3[01])"
_MONTH = "(?:0[1-9]|1[0-2])"
_HOUR = "(?:[01][0-9]|2[0-3])"
_SIXTY = "[0-5][0-9]"
_LOCAL = (
    f"(?:[0-9]{{4}}-{_MONTH}-{_DAY}|[0-9]{{4}}{_MONTH}{_DAY})[Tt ]"
    f"(?:{_HOUR}:{_SIXTY}(?::{_SIXTY}(?:[.,][0-9]+)?)?|{_HOUR}{_SIXTY}(?:{_SIXTY}(?:[.,][0-9]+)?)?)"
)
ZONED = f"{_LOCAL}(?:[Zz]|[+-]{_HOUR}(?::?{_SIXTY})?)"
"""The pattern of a text that is read; of its days, the calendar has to have them."""

_EXAMPLE = "2026-05-01T12:00:00Z"


def read(value: object) -> object:
    """Return a time that was written as text, as a float or by kombu in a form that an event takes; others as they are.

    ValueError says what is wrong with one.
    """
    if isinstance(value, Mapping):
        value = _of_kombu(cast("Mapping[str, Any]", value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("is not a finite number: give UNIX milliseconds")
        return math.floor(value)
    return _of_text(value) if isinstance(value, str) else value


def _of_kombu(value: Mapping[str, Any]) -> str:
    text = value.get("__value__")
    if value.get("__type__") != "datetime" or not isinstance(text, str):
        raise ValueError("is an object, but not a datetime as kombu writes it: give UNIX milliseconds")
    return text


def _of_text(text: str) -> datetime:
    if re.fullmatch(ZONED, text):
        try:
            return datetime.fromisoformat(text.upper())
        except ValueError as error:  # 30 February
            raise ValueError(f"is not in the calendar: {error}") from None
    if re.fullmatch(_LOCAL, text):
        raise ValueError("has no time zone: end it with Z or an offset like +08:00")
    if text.isdecimal():
        raise ValueError("is text of digits: give UNIX milliseconds as a number")
    raise ValueError(f"is not an ISO 8601 time with a zone, like {_EXAMPLE}, nor UNIX milliseconds")
