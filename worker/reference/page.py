"""A page of the docs: hand-written prose, and blocks between two comments that are generated from the code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

Blocks = Mapping[str, str]
"""The text between `<!-- NAME: begin -->` and `<!-- NAME: end -->`, by name."""

_BLOCK = re.compile(r"<!-- ([a-z-]+): begin -->\n.*?<!-- \1: end -->", re.DOTALL)


def filled(page: str, blocks: Blocks) -> str:
    """Return the page with these blocks in place of those it has; ValueError unless they are the same ones."""
    places = _BLOCK.findall(page)
    if sorted(places) != sorted(blocks):
        raise ValueError(f"the page has the blocks {sorted(places)}, made were {sorted(blocks)}")
    return _BLOCK.sub(lambda found: _block(found[1], blocks[found[1]]), page)


def _block(name: str, text: str) -> str:
    return f"<!-- {name}: begin -->\n{text.strip()}\n<!-- {name}: end -->"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(_line(cells) for cells in (header, ["---"] * len(header), *rows))


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def code(*words: str) -> str:
    """Return words as code, with blanks between them."""
    return " ".join(f"`{word}`" for word in words)
