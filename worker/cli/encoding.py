"""What the operator's terminal can show."""

import codecs
from typing import TextIO


def takes_all(stream: TextIO | None) -> bool:
    """Return whether a stream takes every character: not in a locale other than UTF-8. None is a closed one."""
    return stream is None or codecs.lookup(stream.encoding).name.startswith("utf-")
