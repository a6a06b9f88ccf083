"""What stands in a key of Redis, whatever it is: a hand or another program may have written it, so nothing raises."""

from __future__ import annotations

import math
import re
from typing import cast

_LONGEST = 16
"""Digits of a count, or of a time in us; a longer number is none of ours, and JSON may not hold it."""

_LEADING = re.compile(r"[0-9]{1,15}(?![0-9])")
"""A text that begins with a longer number begins with none."""


def text(value: object) -> str:
    """Return bytes as text; empty for what is not set."""
    return cast("bytes", value or b"").decode(errors="backslashreplace")


def integer(value: bytes | str) -> int | None:
    """Return a whole number that is not negative; None if it is not set, or is none."""
    return int(value) if value.isdigit() and value.isascii() and len(value) <= _LONGEST else None


def leading(value: bytes | str | None) -> int:
    """Return the whole number that a text begins with, as epoch.lua reads it; 0 if there is none."""
    found = _LEADING.match(text(value) if not isinstance(value, str) else value)
    return int(found[0]) if found else 0


def number(value: bytes | str) -> float | None:
    """Return a finite number; None if it is not set, or is none."""
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
