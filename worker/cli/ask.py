"""Confirm what can't be undone."""

from __future__ import annotations

import sys

import typer

from worker.cli.errors import NO, WRONG, CommandError


def ask(question: str, *, unattended: str, refused: str) -> None:
    """Ask on the terminal; CommandError: `refused` if the answer is no, `unattended` if there is no terminal."""
    if not sys.stdin.isatty():
        raise CommandError(WRONG, unattended)
    try:
        agreed = typer.confirm(question)
    except typer.Abort:  # Ctrl-C, or the end of the input
        print()
        agreed = False
    if not agreed:
        raise CommandError(NO, refused)
