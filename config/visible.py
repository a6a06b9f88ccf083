"""Escape terminal control and bidirectional characters in JSON."""

import re

_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""Return equivalent JSON with C1 and bidirectional controls as \u009b; JSON escapes the others."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
