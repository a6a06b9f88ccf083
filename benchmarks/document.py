"""The document that holds the figures, each between two marks: `<!-- compare -->` and `<!-- /compare -->`."""

from __future__ import annotations

from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"


def with_section(text: str, name: str, section: str) -> str:
    """Return the text with another section between the marks of this name; ValueError where they are missing."""
    before, opening, rest = text.partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not opening or not closing:
        raise ValueError(f"the document has no section {name}")
    return f"{before}{opening}{section.strip()}\n{closing}{after}"
