"""How things look on the operator's terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.visible import visible
from worker.cli.encoding import takes_all
from worker.fleet.wording import plain

PIPED_WIDTH = 400
"""Columns without a terminal, so that nothing is cut or wrapped for `grep`."""


RUNNING, FINISHED = "cyan", "green"
"""The colours of a progress bar; rich's own are red and grey where a terminal has 16."""

_PADDING = re.compile(" +$", re.MULTILINE)


def screen(stream: TextIO | None = None) -> Console:
    """Return a console that shows text as it is: no markup, no colouring of numbers."""
    target = stream or sys.stdout
    if target.isatty():
        return Console(file=target, markup=False, highlight=False, emoji=False)
    piped = cast("TextIO", Unpadded(target))
    return Console(file=piped, width=PIPED_WIDTH, markup=False, highlight=False, emoji=False)


class Unpadded:
    """A stream that leaves out the blanks with which a table fills its last column."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write whole lines, as the console does."""
        return self._stream.write(_PADDING.sub("", text))


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
    text = visible(orjson.dumps(value, option=option).decode())
    print(text if takes_all(sys.stdout) else json.dumps(json.loads(text)))


def safe(text: str, style: str = "") -> Text:
    """Return text from outside as a cell."""
    return Text(plain(text), style=style)
