"""How a command fails.

CommandError: print its lines on standard error and exit with its status; DONE, NO or WRONG.
"""

from __future__ import annotations

from otpreport.errors import OtpreportError

DONE = 0
NO = 1
"""A check failed, or Redis is unreachable."""

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""

WRONG = 2
"""Usage or configuration error: the same command can't succeed until one of them changes."""


class CommandError(OtpreportError):
    """End the command: `lines` for the operator, one thought each, and the exit status."""

    def __init__(self, status: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.status = status
        self.lines = lines
