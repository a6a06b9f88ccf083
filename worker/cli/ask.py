"""Ask before something is done that can't be undone."""

from __future__ import annotations

import sys

import typer

from worker.cli.stop import NO, WRONG, Stop


def ask(question: str, *, unattended: str, refused: str) -> None:
    """Ask on the terminal; Stop with `refused` when the answer is no, with `unattended` when nobody can be asked."""
    if not sys.stdin.isatty():
        raise Stop(WRONG, unattended)
    if not typer.confirm(question):
        raise Stop(NO, refused)
