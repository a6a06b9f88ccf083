"""Round steps for axes, and values in the words of Grafana's units."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SUFFIX = {"eps": " evt/s", "reqps": " req/s", "ops": " ops/s"}
_SECONDS = ((86400, "day"), (3600, "hour"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BYTES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_COUNTS = ((1e6, " Mil"), (1e3, " K"))


def said(value: float, unit: str) -> str:
    """Return a value as a person reads it, in one of Grafana's units."""
    match unit:
        case "percentunit":
            return f"{_short(value * 100)}%"
        case "s":
            return _of(value, _SECONDS, "s")
        case "bytes":
            return _of(value, _BYTES, "B")
        case "short":
            return _of(value, _COUNTS, "").replace("  ", " ")
        case _:
            return f"{_short(value)}{_SUFFIX[unit]}"


def _of(value: float, steps: tuple[tuple[float, str], ...], rest: str) -> str:
    for step, name in steps:
        if abs(value) >= step:
            return f"{_short(value / step)} {name.strip()}"
    return f"{_short(value)} {rest}".strip()


def _short(value: float) -> str:
    """Return three digits of a number, without zeros that say nothing."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    shown = f"{value:.{min(digits, 4)}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` laid on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value, none beyond the ends."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def steps(low: float, high: float, count: int, unit: str = "short") -> list[float]:
    """Return about `count` round values from below `low` to above `high`."""
    base = _base(high - low, unit)
    raw = max(high - low, 1e-9) / count / base
    size = 10.0 ** math.floor(math.log10(raw))
    step = base * size * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [number * step for number in range(first, last + 1)]


def _base(span: float, unit: str) -> float:
    """Return what the steps of a unit are round multiples of."""
    if unit == "s":
        return 60.0 if span > 75 else 1.0
    return next((step for step, _ in _BYTES if span >= step), 1.0) if unit == "bytes" else 1.0
