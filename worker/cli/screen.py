"""How things look on the operator's terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.visible import visible

PIPED_WIDTH = 400
"""Columns where there is no terminal: nothing is cut or folded for `grep`."""

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def screen(stream: TextIO | None = None) -> Console:
    """Return a console that shows text as it is: no markup, no colouring of numbers."""
    target = stream or sys.stdout
    width = None if target.isatty() else PIPED_WIDTH
    return Console(file=target, width=width, markup=False, highlight=False, emoji=False)


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """Return an empty table; `right` names the columns of numbers."""
    built = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    numbers = frozenset(right)
    for column in columns:
        is_number = column in numbers
        built.add_column(column, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return built


def write_json(value: object) -> None:
    """Print a value as JSON, indented for people on a terminal, in one line for a script."""
    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    print(visible(orjson.dumps(value, option=option).decode()))


def plain(text: str) -> str:
    r"""Return text from outside without anything that steers a terminal: such characters read \x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def safe(text: str, style: str = "") -> Text:
    """Return text from outside as a cell."""
    return Text(plain(text), style=style)


def number(value: float) -> str:
    """Return a number as people read it: 12,345."""
    return f"{value:,.0f}"


def moment(ms: int) -> str:
    """Return a time, UTC to the second."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def iso(ms: int | None) -> str | None:
    """Return a time for a script, to the millisecond."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span(seconds: float) -> str:
    """Return a duration in its two greatest units: 1d 3h, 5m 2s, 0.4s."""
    if seconds < 60:
        return f"{seconds:.1f}s" if 0 < seconds < 10 else f"{seconds:.0f}s"
    for i, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            smaller, name = _UNITS[i + 1] if i + 1 < len(_UNITS) else (1, "s")
            rest = int(seconds % size / smaller)
            return f"{int(seconds / size)}{unit} {rest}{name}" if rest else f"{int(seconds / size)}{unit}"
    raise AssertionError(seconds)


def count(value: int, noun: str) -> str:
    """Return `1 dead letter`, `12,345 dead letters`."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"
