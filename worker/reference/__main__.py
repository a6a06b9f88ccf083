"""Regenerate the reference pages."""

from __future__ import annotations

from worker.reference.pages import PAGES, made

if __name__ == "__main__":
    for page in PAGES:
        page.write_text(made(page), encoding="utf-8")
