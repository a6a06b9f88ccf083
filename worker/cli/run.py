"""Start a worker."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from config.faults import nearest
from otpreport.wire import queue_name
from worker.cli.session import settings_or_stop
from worker.cli.stop import DONE, WRONG, Stop

# Celery's own heartbeats, greetings and gossip go over a broker that this worker does not have.
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def run(accounts: str) -> int:
    """Run Celery's worker for these accounts, every one when none is named, until it is told to stop."""
    names = chosen(accounts, settings_or_stop().accounts)
    # only now: this module reads the settings when it is imported, as `celery -A worker` needs it
    from celery.bin.celery import celery  # noqa: PLC0415

    from worker.celery import app  # noqa: PLC0415

    queues = ",".join(queue_name(name) for name in names)
    # Celery.worker_main would do, but it drops the exit status
    command: Any = celery
    command.params[0].default = app
    status: int | None = command.main(["--quiet", "worker", "-Q", queues, *QUIET], standalone_mode=False)
    return status or DONE


def chosen(text: str, configured: Collection[str]) -> list[str]:
    """Return the accounts of a list with commas; Stop for one that is not configured."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in configured:
            raise Stop(WRONG, f"--accounts {no_such_account(name, configured)}")
    return names or sorted(configured)


def no_such_account(name: str, configured: Collection[str]) -> str:
    """Say that an account is not configured, and which one may be meant."""
    near = nearest(name, configured)
    mend = f"did you mean {near}?" if near else f"configured are {', '.join(sorted(configured))}"
    return f"{name[:80]}: no such account: {mend}"
