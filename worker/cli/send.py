"""Put the events of a file on the queue: at a first adoption, or after Redis was lost."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
from redis.exceptions import RedisError
from rich.table import Table

from otpreport import Receipts, Reporter, Verification
from otpreport.event import Event
from otpreport.place import place
from worker.cli.ask import ask
from worker.cli.errors import DONE, NO, WRONG, CommandError
from worker.cli.event_file import EventFile, Row, UnreadableError
from worker.cli.moves import check_json, progress
from worker.cli.run import no_such_account
from worker.cli.screen import safe, screen, table, write_json
from worker.cli.session import MOST_AWAY, Session, session
from worker.cli.usage import MOST
from worker.cli.who import who
from worker.cli.written import write_down
from worker.fleet.wording import count, moment, number, span

CHUNK = 200
"""Events in one write, and at most so many are queued twice after a kill."""
SHARE = 0.2
"""Of the lowest rate limit in the file, without --rate: live events go through the same queue."""
SHOWN_ROWS, SHOWN_FAULTS = 3, 10
PAUSE = 0.5


@dataclass(slots=True)
class Group:
    """The events of one account; times in UNIX ms."""

    events: int = 0
    too_old: int = 0
    oldest: int = 0
    newest: int = 0

    def add(self, event: Verification, *, too_old: bool) -> None:
        """Count an event."""
        at = event.occurred_at_ms
        self.oldest, self.newest = min(self.oldest or at, at), max(self.newest, at)
        self.events += 1
        self.too_old += too_old


@dataclass(slots=True)
class FilePreview:
    """What a file has beyond the lines that were sent before, and what is wrong with it."""

    groups: dict[str, Group] = field(default_factory=dict[str, Group])
    first: list[Row] = field(default_factory=list[Row])
    faults: list[str] = field(default_factory=list[str])
    faulty: int = 0
    lines: int = 0

    @property
    def total(self) -> int:
        """Events to send."""
        return sum(group.events - group.too_old for group in self.groups.values())

    def blame(self, line: int, fault: str) -> None:
        """Note what is wrong with a line."""
        self.faulty += 1
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(f"line {line}: {fault}")


@dataclass(frozen=True, slots=True)
class SentState:
    """How far a file was sent to a Redis: its first `line` lines, whose bytes have this digest; kept beside it."""

    path: Path | None
    redis: str
    line: int = 0
    digest: str = ""

    @classmethod
    def read(cls, path: Path, redis: str) -> SentState:
        """Return what the file says; CommandError if it can't be trusted."""
        try:
            kept: Any = orjson.loads(path.read_bytes())
            state = cls(path, str(kept["redis"]), _line(int(kept["line"])), str(kept["sha256"]))
        except FileNotFoundError:
            return cls(path, redis)
        except (OSError, ValueError, KeyError, TypeError):
            raise CommandError(WRONG, f"{path} can't be read: move it away, and give --from-line") from None
        if state.redis != redis:
            raise CommandError(
                WRONG,
                f"{path} tells of another Redis, {state.redis}: move it away to send all lines to {redis}",
            )
        return state

    def write(self, line: int, digest: str) -> None:
        """Say that so many lines are sent; CommandError if that can't be kept."""
        if self.path is None:
            return
        new = self.path.with_name(self.path.name + ".new")
        try:
            new.write_bytes(orjson.dumps({"redis": self.redis, "line": line, "sha256": digest}) + b"\n")
            new.replace(self.path)
        except OSError as error:
            raise CommandError(
                WRONG,
                f"can't write {self.path}, which keeps how far it came: {error.strerror}",
                f"lines sent: {line}: copy the file to a folder of yours, and give --from-line {line + 1}",
            ) from None


def send(
    file: Path, *, rate: float | None, from_line: int, dry_run: bool, by: str, yes: bool, as_json: bool
) -> int:
    """Preview the file, ask, and send it."""
    person = who(by)
    check_json(as_json=as_json, yes=yes or dry_run)
    with _open(file) as opened_file, session(keyless=True) as opened:
        settings = opened.settings
        where = f"{place(settings.redis_url.get_secret_value())} {settings.key_prefix}".strip()
        state = SentState(None, where) if _is_input(file) else SentState.read(Path(f"{file}.sent"), where)
        if from_line:
            state = SentState(state.path, where, from_line - 1)
        sending = Sending(opened, opened_file, state)
        preview = sending.preview()
        pace = rate or _share(opened, preview)
        if not as_json:
            _print(preview, pace, state.line)
        if preview.faulty:
            raise CommandError(WRONG, *preview.faults, *_more(preview), "nothing was sent")
        if dry_run or not preview.total:
            _finish(preview, 0, dry_run=dry_run, as_json=as_json)
            return DONE
        if not yes:
            unattended = "no terminal to confirm on: add --yes to send"
            ask(f"Send {count(preview.total, 'event')}?", unattended=unattended, refused="nothing was sent")
        sent = sending.carry_out(preview, pace, person, str(file))
        _finish(preview, sent, dry_run=False, as_json=as_json)
    return DONE


class Sending:
    """A file on its way into the queue."""

    def __init__(self, opened: Session, file: BinaryIO, state: SentState) -> None:
        self._opened = opened
        self._accounts = opened.settings.accounts
        self._file = file
        self._state = state
        self._sent = 0
        self._waits = False

    def preview(self) -> FilePreview:
        """Read the whole file."""
        found = FilePreview()
        events = EventFile(self._file)
        changed = bool(self._state.digest)
        try:
            for row in events.rows():
                if row.line <= self._state.line:
                    if row.line == self._state.line:
                        changed = changed and events.digest() != self._state.digest
                    continue
                self._look_at(row, found)
        except UnreadableError as fault:
            found.faulty += 1
            found.faults.append(str(fault))
        if changed:
            raise CommandError(
                WRONG,
                f"the file has changed in the {number(self._state.line)} lines that were sent before: "
                f"move {self._state.path} away, and say with --from-line where to go on",
            )
        found.lines = events.line
        return found

    def carry_out(self, preview: FilePreview, rate: float, person: str, name: str) -> int:
        """Send all that was previewed and return how many; audited at the start, and at the end with the result."""
        self._state.write(self._state.line, self._state.digest)  # before anything is sent: can it be kept?
        result = "interrupted"
        details: dict[str, object] = {
            "file": name,
            "events": preview.total,
            "from_line": self._state.line + 1,
        }
        began = write_down(self._opened, "send", by=person, **details)
        try:
            self._send(preview, rate)
            result = "done"
        except CommandError:
            result = "failed"
            raise
        finally:
            with contextlib.suppress(RedisError):
                end = {"sent": self._sent, "of": preview.total, "result": result}
                write_down(self._opened, "send-end", by=person, began=began, **end)
        return self._sent

    def _look_at(self, row: Row, found: FilePreview) -> None:
        event = row.event
        if event is None:
            found.blame(row.line, row.fault)
        elif event.account not in self._accounts:
            found.blame(row.line, f"account {no_such_account(event.account, self._accounts)}")
        else:
            found.groups.setdefault(event.account, Group()).add(event, too_old=self._is_too_old(event))
            if len(found.first) < SHOWN_ROWS:
                found.first.append(row)

    def _is_too_old(self, event: Verification) -> bool:
        """Say whether a worker would only make a dead letter of it."""
        return time.time() - event.occurred_at_ms / 1000 > self._accounts[event.account].max_age

    def _send(self, preview: FilePreview, rate: float) -> None:
        settings = self._opened.settings
        reporter = Reporter(
            settings.redis_url.get_secret_value(),
            spool=False,
            timeout=5.0,
            key_prefix=settings.key_prefix,
        )
        size = max(1, min(CHUNK, int(rate * 0.2)))
        due = time.monotonic()
        with _quiet_client(), reporter, progress() as shown:
            bar = shown.add_task("send", total=preview.total)
            for chunk, line, digest in self._chunks(size, preview.lines):
                time.sleep(max(0.0, due - time.monotonic()))
                due = max(due, time.monotonic() - 1.0) + len(chunk) / rate
                self._send_chunk(reporter, chunk)
                self._state.write(line, digest)
                self._sent += len(chunk)
                shown.update(bar, completed=self._sent)

    def _chunks(self, size: int, last: int) -> Iterator[tuple[list[Verification], int, str]]:
        """Yield the events that are not too old, with the number of lines up to them and their digest."""
        events = EventFile(self._file)
        chunk: list[Verification] = []
        line, digest = 0, ""
        for row in events.rows():
            if row.line <= self._state.line:
                continue
            if row.line > last:  # a line that was added meanwhile
                break
            if row.event is None or row.event.account not in self._accounts:
                raise CommandError(NO, f"line {row.line}: the file has changed meanwhile")
            if not self._is_too_old(row.event):
                chunk.append(row.event)
                line, digest = row.line, events.digest()
            if len(chunk) == size:
                yield chunk, line, digest
                chunk = []
        if chunk:
            yield chunk, line, digest

    def _send_chunk(self, reporter: Reporter, events: Sequence[Event]) -> None:
        """Put the events on the queue, however often it takes within MOST_AWAY; CommandError if it can't be done."""
        ends = time.monotonic() + MOST_AWAY
        while events:
            receipts = reporter.report_many(events)
            events = receipts.dropped_events
            if receipts.dropped and not self._waits:
                self._waits = True
                print(
                    f"redis takes no events, trying for {MOST_AWAY:.0f} s: {_why(receipts)}", file=sys.stderr
                )
            if events and time.monotonic() > ends:
                go_on = (
                    "run the same command again for the rest"
                    if self._state.path
                    else f"sent so far: {number(self._sent)}"
                )
                raise CommandError(NO, f"redis takes no events: {_why(receipts)}", go_on)
            if events:
                time.sleep(PAUSE)
        self._waits = False


def _why(receipts: Receipts) -> str:
    return next(iter(receipts.reasons), "").partition(";")[0]


@contextmanager
def _quiet_client() -> Generator[None]:
    """Let the client log nothing: it says that it drops what is tried again here."""
    client = logging.getLogger("otpreport")
    client.disabled = True
    try:
        yield
    finally:
        client.disabled = False


@contextmanager
def _open(file: Path) -> Generator[BinaryIO]:
    """Open the file for this process alone; standard input is copied to the disk first, as it is read twice."""
    if _is_input(file):
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            yield cast("BinaryIO", copy)
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        raise CommandError(WRONG, f"{file}: {error.strerror}") from None
    with opened:
        if not opened.seekable():
            raise CommandError(WRONG, f"{file} can't be read twice: give it as standard input, -")
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(NO, f"{file} is being sent by another process") from None
        except OSError:  # a file system without locks
            pass
        yield opened


def _is_input(file: Path) -> bool:
    return os.fspath(file) == "-"


def _share(opened: Session, preview: FilePreview) -> float:
    limits = [opened.settings.accounts[name].rate_limit for name in preview.groups]
    return max(1.0, SHARE * min(limits, default=0))


def _more(preview: FilePreview) -> list[str]:
    more = preview.faulty - len(preview.faults)
    return [f"and {number(more)} more lines"] if more else []


def _print(preview: FilePreview, rate: float, sent_before: int) -> None:
    console = screen()
    if sent_before:
        console.print(f"lines 1 to {number(sent_before)} are left out: they were sent before", soft_wrap=True)
    if preview.groups:
        console.print(_groups(preview))
    elif not preview.faulty:
        console.print(f"nothing to send: the file holds no {'further ' if sent_before else ''}event")
    for row in preview.first:
        if row.event is not None:
            shown = " ".join(f"{name}={value}" for name, value in row.event.to_wire().items())
            console.print(safe(f"line {row.line}: {shown}"), soft_wrap=True)
    if any(group.too_old for group in preview.groups.values()):
        console.print(
            "those that are too old (MAX_AGE) are not sent: they would be dead letters", soft_wrap=True
        )
    if preview.total and not preview.faulty:
        takes = span(preview.total / rate)
        console.print(f"{count(preview.total, 'event')} at {rate:g}/s: {takes}", soft_wrap=True)


def _groups(preview: FilePreview) -> Table:
    rows = table("account", "events", "too old", "oldest (UTC)", "newest (UTC)", right=("events", "too old"))
    for name, group in sorted(preview.groups.items()):
        times = moment(group.oldest), moment(group.newest)
        rows.add_row(name, number(group.events), number(group.too_old), *times)
    return rows


def _finish(preview: FilePreview, sent: int, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        accounts: Counter[str] = Counter()
        for name, group in preview.groups.items():
            accounts[name] = group.events - group.too_old
        too_old = sum(group.too_old for group in preview.groups.values())
        write_json(
            {
                "events": preview.total,
                "sent": sent,
                "too_old": too_old,
                "accounts": accounts,
                "dry_run": dry_run,
            }
        )
    elif not dry_run and preview.groups:
        screen().print(f"sent {count(sent, 'event')}", soft_wrap=True)


def _line(number_: int) -> int:
    if not 0 <= number_ <= MOST:
        raise ValueError("no file has such a line")
    return number_
