"""Who gives a command, and why, for the audit."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Annotated, TypeAlias

import typer

from worker.cli.errors import WRONG, CommandError

LONGEST = 128
"""Characters of a name."""

LONGEST_REASON = 500

By: TypeAlias = Annotated[
    str, typer.Option("--by", metavar="NAME", help="Who does it, for the audit; default: user@host.")
]


def who(by: str = "") -> str:
    """Return the name that was given, or user@host of this process; CommandError where it can't be a name."""
    if not by:
        return f"{_user()}@{socket.gethostname()}"
    if not by.isprintable() or not by.strip() or len(by) > LONGEST:
        raise CommandError(
            WRONG, f"--by {by[:40]!r} is not a name: write 1 to {LONGEST} printable characters"
        )
    return by


def _user() -> str:
    """Return the user's name; where the system knows none (a container's made-up uid), its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"


def read_reason(text: str) -> str:
    """Return the reason of a change; CommandError if it is not one line that can be shown."""
    if not text.isprintable() or len(text) > LONGEST_REASON:
        raise CommandError(
            WRONG, f"--reason must be one line of at most {LONGEST_REASON} printable characters"
        )
    return text.strip()
