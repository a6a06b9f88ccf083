"""What a benchmark found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A small table, a note on it, and the figures behind it (plain JSON data)."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    data: object = None

    def markdown(self) -> str:
        """Return it under its title."""
        return f"### {self.title}\n\n{self.table()}\n"

    def table(self) -> str:
        """Return a Markdown table that can also be read as it stands, and the note."""
        lines = [list(self.header), *map(list, self.rows)]
        widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
        texts = [_line(cells, widths) for cells in lines]
        rule = "|".join(
            ["", *("-" * (width + 1) + (":" if i else "-") for i, width in enumerate(widths)), ""]
        )
        return "\n".join([texts[0], rule, *texts[1:], *(["", self.note] if self.note else [])])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"
