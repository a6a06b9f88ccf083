"""Links of Markdown files, checked without a network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_ANCHOR = re.compile(r"<a\s[^>]*?(?:id|name)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
_FOREIGN = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def links(text: str) -> Iterator[str]:
    """Yield where the links and pictures of a text point, but for other sites."""
    prose = _CODE.sub("", _FENCE.sub("", text))
    for match in _LINK.finditer(prose):
        target = match[1] or match[2]
        if not _FOREIGN.match(target):
            yield target


def anchors(text: str) -> set[str]:
    """Return what a link can name in a text: its headings as GitHub writes them, and anchors set by hand."""
    found: set[str] = set(_ANCHOR.findall(text))
    seen = Counter[str]()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        slug = slug_of(heading)
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def slug_of(heading: str) -> str:
    """Return a heading as it stands in an address."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


def broken(page: Path, root: Path) -> Iterator[str]:
    """Yield each link of a page that leads nowhere, or out of the project."""
    for link in links(page.read_text(encoding="utf-8")):
        place, _, anchor = unquote(link).partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.is_relative_to(root) or not target.exists():
            yield f"{page.relative_to(root)}: {link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{page.relative_to(root)}: {link}: no such heading"
