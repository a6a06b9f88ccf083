"""How seldom Python looks for garbage in this process."""

from __future__ import annotations

import gc


def look_seldom() -> None:
    """Look every 20,000 new objects, not every 700.

    A start makes a hundred thousand objects that all stay: looking for garbage among them took a tenth of it.
    """
    gc.set_threshold(20_000)
