"""Durations in settings: `30`, `500ms`, `30s`, `5m`, `24h`, `7d`."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

_TEXT = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?\s*", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts, for messages and the reference."""

    name: str


def parse_duration(value: object) -> object:
    """Return the seconds a text means; anything else passes through for pydantic to judge."""
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) * _SECONDS[match[2] or "s"] if match else value


def written(seconds: float) -> str:
    """Return a duration as written in settings: 500ms, 90s, 5m, 24h, 30d."""
    for size, name in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count = seconds / size
        if count >= 1 and count == int(count) and not (name == "d" and count == 1):
            return f"{count:.0f}{name}"
    return f"{seconds:.10g}s" if seconds >= 1 else f"{seconds * 1000:.10g}ms"


Seconds = Annotated[float, BeforeValidator(parse_duration), Unit("seconds")]
