"""How the usage line of a command names its arguments, and how much its options take."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

MOST = 1_000_000_000
"""The largest count, or number of a line, that an option takes."""


class PlainCommand(TyperCommand):
    """A command whose usage has MESSAGE_ID, not {MESSAGE_ID}, as some versions of typer write it."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        pieces: list[str] = super().collect_usage_pieces(ctx)
        return [piece[1:-1] if piece.startswith("{") and piece.endswith("}") else piece for piece in pieces]
