"""Start a worker."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from config.faults import nearest
from config.output import take_over
from otpreport.wire import queue_name
from worker.cli.errors import DONE, WRONG, CommandError
from worker.cli.session import settings_or_stop


def run(accounts: str) -> int:
    """Run Celery's worker for these accounts, all if none is named, until a signal stops it."""
    take_over()  # first of all: a full pipe would keep it also from saying that it can't start
    names = chosen(accounts, settings_or_stop().accounts)
    # only now: this module reads the settings when it is imported, as `celery -A worker` needs it
    from worker.celery import app  # noqa: PLC0415

    # Celery's command line would do the same, but takes a quarter of a second to be imported. Its heartbeats,
    # greetings and gossip go over a broker that this worker does not have.
    worker: Any = app.Worker(
        queues=[queue_name(name) for name in names],
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return worker.exitcode or DONE


def chosen(text: str, configured: Collection[str]) -> list[str]:
    """Return the accounts of a list with commas; CommandError for one that is not configured, or for none at all."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if text and not names:
        raise CommandError(
            WRONG, f"--accounts {text!r} names no account: use some of {', '.join(sorted(configured))}"
        )
    for name in names:
        if name not in configured:
            raise CommandError(WRONG, f"--accounts {no_such_account(name, configured)}")
    return names or sorted(configured)


def no_such_account(name: str, configured: Collection[str]) -> str:
    """Say that an account is not configured, and which one may be meant."""
    near = nearest(name, configured)
    fix = f"did you mean {near}?" if near else f"use one of {', '.join(sorted(configured))}"
    return f"{name[:80]}: no such account: {fix}"
