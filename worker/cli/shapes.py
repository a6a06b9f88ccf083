"""Numbers, durations and names as short as a table needs them, and bars of characters."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from worker.fleet.wording import number, span

STEPS = "▁▂▃▄▅▆▇█"


def whole(ms: float) -> str:
    """Return a duration without fractions of a second; one that a clock makes negative is none."""
    seconds = max(0, int(ms // 1000))
    return f"{seconds}s" if seconds < 60 else span(seconds)


def bar(share: float, width: int, style: str) -> Text:
    """Return a bar of `width` cells, exact to half a cell; a small share is never shown as none."""
    halves = round(min(1.0, max(0.0, share)) * width * 2)
    if share > 0 and width:
        halves = max(1, halves)
    filled = "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble((filled, style), ("─" * (width - len(filled)), "grey37"))


def sparkline(values: Sequence[float], most: float) -> str:
    """Return a step for each value; `most`, or the greatest value, is the highest step."""
    top = max(most, *values, 1e-9) if values else 1.0
    return "".join(STEPS[min(7, round(value / top * 7))] for value in values)


def short(value: float) -> str:
    """Return a count in at most six characters: 12,345, 123k, 4.6M."""
    if value < 100_000:
        return number(value)
    size, unit = (1e3, "k") if value < 999_500 else (1e6, "M") if value < 999.5e6 else (1e9, "G")
    scaled = value / size
    return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:,.0f}{unit}"


def shortened(text: str, width: int) -> str:
    """Return a text that is too long without its middle, because its ends identify it."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
