"""How a command ends before its end.

CommandError: print its lines on standard error and exit with its status; there are three: DONE, NO and WRONG.
"""

from __future__ import annotations

from otpreport.errors import OtpreportError

DONE = 0
NO = 1
"""The answer is no: something is wrong with what was asked about, or Redis can't be reached."""

WRONG = 2
"""Wrong use or settings: the same command can't succeed before somebody changes one of them."""


class CommandError(OtpreportError):
    """End the command: `lines` for the operator, one thought each, and the exit status."""

    def __init__(self, status: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.status = status
        self.lines = lines
