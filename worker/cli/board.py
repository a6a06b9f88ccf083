"""The fleet drawn in a terminal, or written plainly where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tasks.fleet.pulse import WorkerSeen
from worker.cli.account_table import account_table
from worker.cli.shapes import shortened, whole
from worker.fleet.notes import Note, Severity, notes
from worker.fleet.status import FleetStatus
from worker.fleet.wording import count, moment, number, plain

ROOMY = 80
"""Columns from which it is shown what each worker serves and which version it is."""

WIDE = 112
"""Columns from which names are whole and the tables airy."""

STYLES = {Severity.BAD: "bold red", Severity.WARN: "yellow", Severity.INFO: "cyan"}
SIGNS = {Severity.BAD: "✖", Severity.WARN: "▲", Severity.INFO: "·"}


@dataclass(frozen=True, slots=True)
class Canvas:
    """The output: columns, rows below the heading (None: unlimited), and whether marks and bars can be shown."""

    width: int
    height: int | None = None
    drawn: bool = False


def board(fleet: FleetStatus, canvas: Canvas) -> Group:
    """Return the accounts, what needs attention, the last errors and the workers."""
    found = notes(fleet)
    parts: list[RenderableType] = [
        account_table(fleet, canvas.width if canvas.drawn else None),
        Text(""),
        *_notes(fleet, found, canvas),
    ]
    if errors := _errors(fleet, canvas):
        parts += (Text(""), errors)
    if fleet.workers:
        parts += (Text(""), _workers(fleet, _room(fleet, found, canvas), canvas))
    return Group(*parts)


def heading(fleet: FleetStatus, canvas: Canvas, fault: str = "") -> Text:
    """Return the first line: where, how it is, and when; `fault` is why these figures are old."""
    levels = {note.level for note in notes(fleet)}
    trouble = Severity.BAD in levels or bool(fault)
    mood, style = ("healthy", "green") if not levels - {Severity.INFO} else ("warnings", "yellow")
    if trouble:
        mood, style = ("redis unreachable" if fault else "degraded", "bold red")
    end = f"{'as of ' if fault else ''}{moment(fleet.now_ms)[11:]} UTC"
    silent = f", {number(fleet.silent)} silent" if fleet.silent else ""
    start = f"otpreport  {count(fleet.snapshot.workers, 'worker')}{silent}  "
    where = shortened(plain(fleet.redis), max(12, canvas.width - len(start) - len(mood) - len(end) - 4))
    gap = max(2, canvas.width - len(start) - len(where) - len(mood) - len(end) - 2)
    return Text.assemble(
        (start[:9], "bold"), start[9:], (where, "dim"), " " * gap, (mood, style), "  ", (end, "dim")
    )


def _notes(fleet: FleetStatus, found: Sequence[Note], canvas: Canvas) -> list[RenderableType]:
    if not canvas.drawn:
        silent = f" ({number(fleet.silent)} silent)" if fleet.silent else ""
        alive = f"{count(fleet.snapshot.workers, 'worker')} alive{silent}, {plain(fleet.redis)}"
        return [Text(alive), *(Text(note.text, style=STYLES[note.level]) for note in found)]
    rows = Table.grid("", "", padding=(0, 1, 0, 0))
    for note in found:
        rows.add_row(
            Text(SIGNS[note.level], style=STYLES[note.level]), Text(note.text, style=STYLES[note.level])
        )
    return [rows] if found else [Text("nothing needs attention", style="dim")]


def _errors(fleet: FleetStatus, canvas: Canvas) -> Table | None:
    rows = _table(canvas)
    for title in ("last error", "ago", "class"):
        rows.add_column(title, justify="right" if title == "ago" else "left", no_wrap=True)
    rows.add_column("code and message")
    for account in fleet.accounts:
        if (error := account.pulse.last_error) is not None:
            text = plain(" ".join(word for word in (error.code, error.message) if word))
            name = Text(shortened(plain(account.name), 32 if canvas.width >= WIDE else 14))
            line = Text(text, no_wrap=True, overflow="ellipsis" if canvas.drawn else "ignore")
            rows.add_row(name, whole(fleet.now_ms - error.at_ms), plain(error.result), line)
    return rows if rows.row_count else None


def _workers(fleet: FleetStatus, most: int, canvas: Canvas) -> Table:
    """Return the workers, `most` of them, those that hold most first where not all have room."""
    rows, shown = _table(canvas), fleet.workers
    if len(shown) > most:
        shown = tuple(sorted(shown, key=lambda worker: -worker.held)[: max(0, most - 1)])
    for title in ("worker", "host"):
        rows.add_column(title, no_wrap=title == "worker", overflow="ellipsis")
    for title in ("pid", "leased", "in flight", "of", "up", "seen"):
        rows.add_column(title, justify="right", no_wrap=True)
    roomy = not canvas.drawn or canvas.width >= ROOMY
    for title in ("version", "serves") if roomy else ():
        rows.add_column(title, no_wrap=title == "version", overflow="ellipsis")
    every = sorted(account.name for account in fleet.accounts if account.seen.configured)
    for worker in shown:
        about = (Text(plain(worker.version) or "-"), _serves(worker, every)) if roomy else ()
        rows.add_row(*_worker(worker, fleet.now_ms), *about)
    if len(shown) < len(fleet.workers):
        rows.add_row(Text(f"and {len(fleet.workers) - len(shown)} more", style="dim"))
    return rows


def _worker(worker: WorkerSeen, now_ms: int) -> list[Text]:
    known = (worker.held, worker.in_flight, worker.concurrency)
    return [
        Text(plain(worker.worker)[:20]),
        Text(plain(worker.host) or "-", no_wrap=True, overflow="ellipsis"),
        Text("-" if worker.pid is None else str(worker.pid)),
        *(Text("-" if value is None else number(value)) for value in known),
        Text("-" if worker.started_ms is None else whole(now_ms - worker.started_ms)),
        _last_seen(worker, now_ms),
    ]


def _serves(worker: WorkerSeen, every: Sequence[str]) -> Text:
    """Return the accounts that a worker serves, `all` for those of the settings."""
    if worker.serves is None:
        return Text("-")
    named = "all" if worker.serves == tuple(every) else ", ".join(worker.serves) or "none"
    return Text(plain(named), no_wrap=True, overflow="ellipsis")


def _last_seen(worker: WorkerSeen, now_ms: int) -> Text:
    if not worker.alive(now_ms):
        return Text("gone", style="red")
    if worker.seen_ms is None:
        return Text("-")
    silent_ms = now_ms - worker.seen_ms
    late = worker.silence(now_ms) > 0
    return Text("now" if silent_ms < 2000 else f"{whole(silent_ms)} ago", style="yellow" if late else "")


def _room(fleet: FleetStatus, found: Sequence[Note], canvas: Canvas) -> int:
    """Return how many lines are left for workers under all the rest."""
    if canvas.height is None:
        return len(fleet.workers)
    accounts = sum(account.matters for account in fleet.accounts) + 1
    lines = sum(math.ceil(len(note.text) / (canvas.width - 2)) for note in found) or 1
    errors = sum(account.pulse.last_error is not None for account in fleet.accounts)
    above = accounts + 1 + lines + (errors + 2 if errors else 0) + 2
    return max(1, canvas.height - above)


def _table(canvas: Canvas) -> Table:
    gap = 2 if canvas.width >= WIDE else 1
    return Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold", collapse_padding=True)
