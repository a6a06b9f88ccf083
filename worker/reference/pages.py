"""The pages of the docs that are made from the code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from worker.reference import metrics, providers, settings
from worker.reference.page import Blocks, filled

DOCS = Path(__file__).parents[2] / "docs"

PAGES: Mapping[Path, Callable[[], Blocks]] = {
    DOCS / "metrics.md": metrics.blocks,
    DOCS / "providers.md": providers.blocks,
    DOCS / "settings.md": settings.blocks,
}


def made(page: Path) -> str:
    """Return the page as it must be: its prose unchanged, its tables regenerated."""
    return filled(page.read_text(encoding="utf-8"), PAGES[page]())
