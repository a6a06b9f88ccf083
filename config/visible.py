"""Characters that steer a terminal or turn its text around, written in JSON as what they are."""

import re

_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""Return JSON that reads the same, with C1 and bidirectional controls as \u009b; JSON escapes the others."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
