"""Defaults that are derived rather than fixed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImpliedDefault:
    """Describes the default, for the reference."""

    text: str
