"""Confirm what can't be undone."""

from __future__ import annotations

import sys

import typer

from worker.cli.errors import NO, WRONG, CommandError


def ask(question: str, *, unattended: str, refused: str) -> None:
    """Ask on the terminal; CommandError: `refused` if the answer is no, `unattended` if there is no terminal."""
    if not sys.stdin.isatty():
        raise CommandError(WRONG, unattended)
    if not typer.confirm(question):
        raise CommandError(NO, refused)
