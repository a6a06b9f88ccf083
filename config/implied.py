"""What holds where a setting without a fixed default is left out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImpliedDefault:
    """Says it in words, for the reference."""

    text: str
