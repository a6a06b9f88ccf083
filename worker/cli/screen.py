"""How things look on the operator's terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.visible import visible
from worker.fleet.wording import plain

PIPED_WIDTH = 400
"""Columns without a terminal, so that nothing is cut or wrapped for `grep`."""


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


def safe(text: str, style: str = "") -> Text:
    """Return text from outside as a cell."""
    return Text(plain(text), style=style)
