"""Durations as people write them: `30`, `500ms`, `30s`, `5m`, `24h`, `7d`."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

_TEXT = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?\s*", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Unit:
    """Says what a number counts, for messages and the reference."""

    name: str


def parse_duration(value: object) -> object:
    """Return the seconds a text means; what is no such text passes through, for pydantic to judge."""
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) * _SECONDS[match[2] or "s"] if match else value


Seconds = Annotated[float, BeforeValidator(parse_duration), Unit("seconds")]
