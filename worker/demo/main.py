"""The demo: start everything, enqueue like a web app, watch, compare books and ledger."""

from __future__ import annotations

import contextlib
import csv
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import redis
from rich.console import Console

from otpreport import Reporter, Verification
from worker.demo.audit import audit
from worker.demo.display import Progress, table
from worker.demo.evidence import ACCOUNTS, dead, gather, pending, read_books
from worker.demo.processes import HERE, Processes, connect

DEADLINE = 150.0
"""Seconds after which the demo gives up."""

REDIS_TIMEOUT = 5.0
"""Seconds the demo's web app gives Redis; a login view gives it 50 ms."""

BATCH = 30
PAUSE = 0.02
"""The web app's pace: BATCH events, then PAUSE seconds."""

ACCOUNTED, NOT_ACCOUNTED = 0, 1

NEXT = """\
Try next:
  make test                                run all tests, on real processes
  .venv/bin/python -m worker demo --keep   keep it running: status, dead list
  README.md, "In your web app"             three lines for a login view"""


def main(*, keep: bool = False) -> int:
    """Run the demo; 0 only if every event is accounted for. With `keep`, run on until Ctrl-C."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="otpreport-demo-") as folder:
        try:
            with Processes(Path(folder)) as processes:
                return _run(console, processes, keep=keep)
        except (RuntimeError, redis.RedisError) as error:
            console.print(f"[red]The demo failed:[/] {error}")
            _show_log(console, Path(folder) / "worker.log")
            return NOT_ACCOUNTED


def _run(console: Console, processes: Processes, *, keep: bool) -> int:
    rows = list(_rows(HERE / "verifications.csv"))
    console.print(
        f"Valkey, the provider simulator and one worker are up.\n"
        f"Enqueueing {len(rows)} OTP verifications, as a web app would. The provider misbehaves on purpose:\n"
        f"errors, lost answers and events that it refuses, which become dead letters."
    )
    events: dict[str, list[Verification]] = {account: [] for account in ACCOUNTS}
    with (
        connect(processes) as client,
        Reporter(processes.valkey.url, spool=False, timeout=REDIS_TIMEOUT) as reporter,
    ):
        with ThreadPoolExecutor(1) as executor:
            web_app = executor.submit(_enqueue, reporter, rows, events)
            _watch(
                client, processes, web_app, {a: sum(row["account"] == a for row in rows) for a in ACCOUNTS}
            )
            web_app.result()
        lines, faults = audit(gather(client, processes.simulator_url, processes.metrics_url, events))
    console.print(table(lines))
    for fault in faults:
        console.print(f"[red]not accounted for:[/] {fault}")
    if not faults:
        console.print(
            "[green]Every event is accounted for[/], by Redis' books and by the provider's ledger.\n"
        )
        console.print(NEXT, highlight=False)
    if keep:
        _stay(console, processes)
    return NOT_ACCOUNTED if faults else ACCOUNTED


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _enqueue(
    reporter: Reporter, rows: Sequence[dict[str, str]], events: dict[str, list[Verification]]
) -> None:
    """Report verifications, several hundred a second, like a web app's views."""
    waiting = iter(rows)
    while batch := list(islice(waiting, BATCH)):
        verifications = [_verification(row) for row in batch]
        for verification in verifications:
            events[verification.account].append(verification)
        receipts = reporter.report_many(verifications)
        if receipts.dropped:
            raise RuntimeError(f"events were dropped: {receipts.reasons}")
        time.sleep(PAUSE)


def _verification(row: dict[str, str]) -> Verification:
    now = datetime.now(UTC)
    return Verification(
        account=row["account"],
        message_id=row["message_id"],
        occurred_at=now,
        verified=row["verified"] == "true",
        sent_at=now - timedelta(seconds=int(row["seconds_since_sent"])),
    )


def _watch(
    client: redis.Redis, processes: Processes, web_app: Future[None], expected: dict[str, int]
) -> None:
    """Show progress until all events are finished; RuntimeError if a process ends or it takes too long."""
    end = time.monotonic() + DEADLINE
    with Progress(expected) as progress:
        while True:
            books = read_books(client)
            waiting = {account: pending(client, account) for account in ACCOUNTS}
            progress.show(books, waiting, {account: dead(client, account) for account in ACCOUNTS})
            if web_app.done() and not any(waiting.values()):
                return
            if fault := processes.failed():
                raise RuntimeError(fault)
            if time.monotonic() > end:
                raise RuntimeError(f"not finished within {DEADLINE:.0f} s: {waiting} unfinished")
            time.sleep(0.1)


def _stay(console: Console, processes: Processes) -> None:
    console.print(f"\nStill running. Metrics: {processes.metrics_url}/metrics   In another terminal:")
    for command in ("status", "dead list"):
        console.print(
            f"  OTPREPORT_CONFIG={processes.config} {sys.executable} -m worker {command}",
            soft_wrap=True,
            highlight=False,
        )
    console.print("Ctrl-C stops it.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _show_log(console: Console, log: Path) -> None:
    if log.exists():
        console.print("Last lines of the worker's log:")
        for line in log.read_text(errors="replace").splitlines()[-5:]:
            console.print(f"  {line[:300]}", highlight=False, markup=False)
