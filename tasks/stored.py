"""What stands in a key of Redis, whatever it is: a hand or another program may have written it, so nothing raises."""

from __future__ import annotations

import math
from typing import cast

_LONGEST = 16
"""Digits of a count, or of a time in us; a longer number is none of ours, and JSON may not hold it."""


def text(value: object) -> str:
    """Return bytes as text; empty for what is not set."""
    return cast("bytes", value or b"").decode(errors="backslashreplace")


def integer(value: bytes | str) -> int | None:
    """Return a whole number that is not negative; None if it is not set, or is none."""
    return int(value) if value.isdigit() and value.isascii() and len(value) <= _LONGEST else None


def number(value: bytes | str) -> float | None:
    """Return a finite number; None if it is not set, or is none."""
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
