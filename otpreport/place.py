"""What a Redis URL may be called where others see it."""

from __future__ import annotations

import hashlib
import re


def place(url: str) -> str:
    """Return the URL without user, password and options: safe to show."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def slug(url: str) -> str:
    """Return a file name for the place, the same for every user and password."""
    shown = place(url)
    digest = hashlib.sha256(shown.encode()).hexdigest()[:8]
    return f"{re.sub('[^A-Za-z0-9.]+', '-', shown)[:60]}-{digest}"
