"""The demo: start everything, enqueue like a web app, watch, compare books and ledger."""

from __future__ import annotations

import contextlib
import csv
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice, product, zip_longest
from pathlib import Path
from shutil import disk_usage

import redis
from rich.console import Console

from otpreport import Reporter, Verification
from otpreport.app_folder import INSTALLED
from worker.cli.errors import INTERRUPTED
from worker.demo.audit import audit
from worker.demo.display import Progress, table
from worker.demo.evidence import ALL, TWO, arrivals, dead, gather, pending, read_books
from worker.demo.processes import HERE, ROOT, Processes, connect
from worker.demo.story import ACCOUNT, play
from worker.demo.story_display import Display

DEADLINE = 150.0
"""Seconds after which the demo gives up."""

REDIS_TIMEOUT = 5.0
"""Seconds the demo's web app gives Redis; a login view gives it 50 ms."""

SAMPLE = HERE / "verifications.csv"

EACH = 60
"""Made-up verifications of each other provider: some have a limit of ten requests a second."""

NO_ROOM = 1 << 20
"""Bytes free on a disk that is as good as full."""

BATCH = 30
PAUSE = 0.02
"""The web app's pace: BATCH events, then PAUSE seconds."""

ACCOUNTED, NOT_ACCOUNTED = 0, 1

STARTING = "Starting Valkey, the provider simulator and one worker on this machine."

START = (
    "Enqueueing {number} OTP verifications{source}, as a web app would.\n"
    "The simulated providers misbehave on purpose: errors, throttling, lost answers, and "
    "events that they refuse, which become dead letters."
)

END = (
    "[green]Every event is accounted for[/], by Redis' books and by the provider's ledger.\n"
    "Nothing was lost. The providers misbehaved on purpose: they refused {dead_letters} events, "
    "the dead letters, and {retried} attempts met errors, throttling or a lost answer."
)

END_OF_STORY = (
    "[green]Every OTP is accounted for[/], and the provider was told of each once.\n"
    "What the rate means: docs/conversion.md. The alerts: deploy/alerts.yml."
)

NEXT_OF_WHEEL = """\
Try next:
  otpreport demo --keep   keep it running, and send events of your own to it"""

NEXT = """\
Try next:
  make test                                run all tests, on real processes
  .venv/bin/python -m worker demo --keep   keep it running, and send events of your own to it
  README.md, "In your web app"             three lines for a login view"""

YOURS = """\

It keeps running until Ctrl-C, for events of your own. In your app, or in
another terminal in this folder:

{python} <<'END'
from datetime import UTC, datetime
from otpreport import Reporter, Verification

reporter = Reporter("{redis_url}", accounts={accounts}, spool="{spool}")
print(reporter.report(Verification(account="tencent", message_id="my-first", occurred_at=datetime.now(UTC))))
END

See it arrive, at the simulated provider and in the fleet:

curl -s '{simulator_url}/-/ledger?from={arrived}'
export OTPREPORT_CONFIG={config}
{python} -m otpreport status --watch
"""


def main(*, keep: bool = False, everyone: bool = False, story: bool = False) -> int:
    """Run the demo; 0 only if every event is accounted for.

    With `keep`, run on until Ctrl-C; with `everyone`, report to all providers in place of two. With `story`, show
    conversion rates while SMS fail.
    """
    console = Console()
    for number in (signal.SIGTERM, signal.SIGHUP):  # the children, in groups of their own, would outlive it
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="otpreport-demo-") as folder:
        try:
            console.print(STARTING, highlight=False)
            accounts = [ACCOUNT] if story else ALL if everyone else TWO
            with Processes(Path(folder), accounts, story=story) as processes, _naming_what_exited(processes):
                if story:
                    return _play(console, processes)
                return _run(console, processes, keep=keep, everyone=everyone)
        except KeyboardInterrupt:
            console.print("\nStopped.")
            return INTERRUPTED
        except (RuntimeError, redis.RedisError) as error:
            console.print(f"[red]The demo failed:[/] {error}")
            if disk_usage(folder).free < NO_ROOM:
                console.print(f"No room is left in {folder}: set TMPDIR to a folder on another disk.")
            _show_log(console, Path(folder) / "worker.log")
            return NOT_ACCOUNTED


@contextlib.contextmanager
def _naming_what_exited(processes: Processes) -> Generator[None]:
    """Let an error name the process that exited, if one did: it is the cause."""
    try:
        yield
    except (RuntimeError, redis.RedisError) as error:
        raise RuntimeError(processes.failed() or str(error)) from error


def _play(console: Console, processes: Processes) -> int:
    verdict = play(processes, Display(console))
    console.print(verdict.table())
    return _conclude(console, verdict.faults, END_OF_STORY)


def _run(console: Console, processes: Processes, *, keep: bool, everyone: bool) -> int:
    rows, source = list(_rows(SAMPLE)), f" of {SAMPLE.relative_to(ROOT)}"
    if everyone:
        source = f" for {len(ALL)} providers"
        rows = [row for few in zip_longest(rows, _rows_of_others()) for row in few if row]
    console.print(START.format(number=len(rows), source=source), highlight=False)
    events: dict[str, list[Verification]] = {account: [] for account in (ALL if everyone else TWO)}
    with (
        connect(processes) as client,
        Reporter(processes.valkey.url, spool=False, timeout=REDIS_TIMEOUT) as reporter,
    ):
        with ThreadPoolExecutor(1) as executor:
            stop = threading.Event()
            web_app = executor.submit(_enqueue, reporter, rows, events, stop)
            try:
                _watch(
                    client,
                    processes,
                    web_app,
                    {account: sum(row["account"] == account for row in rows) for account in events},
                )
            finally:
                stop.set()
            web_app.result()
        lines, faults = audit(gather(client, processes.simulator_url, processes.metrics_url, events))
    console.print(table(lines))
    dead_letters, retried = sum(line.dead for line in lines), sum(line.retried for line in lines)
    status = _conclude(console, faults, END.format(dead_letters=dead_letters, retried=retried))
    if keep:
        _stay(console, processes, list(events))
    elif status == ACCOUNTED:
        console.print(f"\n{NEXT_OF_WHEEL if INSTALLED else NEXT}", highlight=False)
    return status


def _conclude(console: Console, faults: Sequence[str], good_end: str) -> int:
    """Print what is not accounted for, or the good end; return the exit status."""
    for fault in faults:
        console.print(f"[red]not accounted for:[/] {fault}")
    if faults:
        return NOT_ACCOUNTED
    console.print(good_end, highlight=False)
    return ACCOUNTED


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _rows_of_others() -> Iterator[dict[str, str]]:
    """Make up verifications for the providers that the sample has none of, one of each in turn; a fifth is false."""
    for number, account in product(range(EACH), [account for account in ALL if account not in TWO]):
        yield {
            "account": account,
            "message_id": sha256(f"{account} {number}".encode()).hexdigest()[:32],
            "verified": "false" if number % 5 == 4 else "true",
            "seconds_since_sent": "60",
        }


def _enqueue(
    reporter: Reporter,
    rows: Sequence[dict[str, str]],
    events: dict[str, list[Verification]],
    stop: threading.Event,
) -> None:
    """Report verifications, several hundred a second, like a web app's views; `stop` ends it."""
    waiting = iter(rows)
    while not stop.is_set() and (batch := list(islice(waiting, BATCH))):
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
            books = read_books(client, expected)
            waiting = {account: pending(client, account) for account in expected}
            progress.show(books, waiting, {account: dead(client, account) for account in expected})
            if web_app.done() and not any(waiting.values()):
                return
            if fault := processes.failed():
                raise RuntimeError(fault)
            if time.monotonic() > end:
                raise RuntimeError(f"not finished within {DEADLINE:.0f} s: {waiting} unfinished")
            time.sleep(0.1)


def _stay(console: Console, processes: Processes, accounts: list[str]) -> None:
    yours = YOURS.format(
        python=sys.executable,
        redis_url=processes.valkey.url,
        accounts=accounts,
        spool=processes.folder / "spool.sqlite3",
        simulator_url=processes.simulator_url,
        arrived=arrivals(processes.simulator_url),
        config=processes.config,
    )
    console.print(yours, soft_wrap=True, highlight=False, markup=False)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    processes.kill()
    console.print("\nStopped.")


def _show_log(console: Console, log: Path) -> None:
    if log.exists():
        console.print("Last lines of the worker's log:")
        for line in log.read_text(errors="replace").splitlines()[-5:]:
            console.print(f"  {line[:300]}", highlight=False, markup=False)
