"""The table of accounts, with as much in it as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from worker.cli.shapes import bar, short, shortened, sparkline
from worker.fleet.status import AccountStatus, FleetStatus
from worker.fleet.wording import number, plain, span

MARKS = {
    "running": "●",
    "recovering": "◐",
    "circuit_open": "✖",
    "refused": "■",
    "paused": "‖",
    "shedding": "↓",
    "unknown": "?",
}
COLOURS = {"running": "green", "recovering": "cyan", "paused": "yellow", "shedding": "yellow"}
"""How the states look; any other is red."""

FULL = 0.95
"""The share of its rate from which an account goes as fast as it may."""

FIGURE = 6
"""Columns at least of a figure where the titles are whole, so that the table does not jump as figures grow."""

Cell = Callable[[AccountStatus], Text]


@dataclass(frozen=True, slots=True)
class Layout:
    """How much is shown: whole words, every digit, marks of the states, how long bars and trends are, which columns."""

    words: bool
    digits: bool
    marks: bool
    bars: int = 0
    trend: int = 0
    without: frozenset[str] = frozenset()

    @property
    def gap(self) -> int:
        """Spaces between two columns."""
        return 2 if self.words else 1


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, how a cell is made, and whether it holds figures."""

    title: str
    cell: Cell
    figures: bool = True


_SPARE = frozenset({"use", "sched", "+1h", "sent", "leased", "of", "rate/s", "oldest"})

PLAIN = Layout(words=True, digits=True, marks=False)
DRAWN = (
    Layout(words=True, digits=True, marks=True, bars=16, trend=32),
    Layout(words=True, digits=True, marks=True, bars=10, trend=16),
    Layout(words=True, digits=False, marks=True, bars=8, trend=10),
    Layout(words=True, digits=False, marks=True, bars=8),
    Layout(words=False, digits=False, marks=True, bars=8),
    Layout(words=False, digits=False, marks=True, bars=4),
    Layout(words=False, digits=False, marks=True),
    Layout(words=False, digits=False, marks=True, without=frozenset({"use"})),
    Layout(words=False, digits=False, marks=True, without=frozenset({"use", "sched", "+1h"})),
    Layout(
        words=False, digits=False, marks=True, without=frozenset({"use", "sched", "+1h", "sent", "leased"})
    ),
    Layout(words=False, digits=False, marks=True, without=_SPARE),
)
"""The layouts to try, the richest first. Names are cut where even the last is too wide."""

NAME = 12
"""Columns that a name keeps: without it, rows cannot be told apart."""


def account_table(fleet: FleetStatus, width: int | None) -> Table:
    """Return the table for a terminal of `width` columns; None: for a pipe, in words alone."""
    accounts = [account for account in fleet.accounts if account.matters]
    layouts = (PLAIN,) if width is None else DRAWN
    for layout in layouts:
        columns = _columns(accounts, layout)
        rows = [[column.cell(account) for column in columns] for account in accounts]
        if width is None or layout is layouts[-1] or _width(columns, rows, layout) <= width:
            if width is not None:
                _shorten_names(columns, rows, layout, width)
            return _table(columns, rows, layout)
    raise AssertionError(layouts)


def _width(columns: Sequence[Column], rows: Sequence[Sequence[Text]], layout: Layout) -> int:
    """Return how wide the table would like to be."""
    widths = _widths(columns, rows, layout)
    if not (layout.words or layout.bars):
        widths[0] = min(widths[0], NAME)  # rather a part of the names than a column
    return sum(widths) + layout.gap * (len(columns) - 1)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Text]], layout: Layout) -> list[int]:
    least = FIGURE if layout.words else 0
    return [
        max(len(column.title), least if column.figures else 0, *(row[i].cell_len for row in rows))
        for i, column in enumerate(columns)
    ]


def _shorten_names(columns: Sequence[Column], rows: Sequence[list[Text]], layout: Layout, width: int) -> None:
    """Leave out the middle of a name that is too long, as its ends tell it from others."""
    others = sum(_widths(columns, rows, layout)[1:]) + layout.gap * (len(columns) - 1)
    for row in rows:
        row[0] = Text(shortened(row[0].plain, max(NAME, width - others)), no_wrap=True, overflow="ellipsis")


def _table(columns: Sequence[Column], rows: Sequence[Sequence[Text]], layout: Layout) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, layout.gap, 0, 0), header_style="bold")
    for column in columns:
        least = FIGURE if layout.words and layout.marks and column.figures else None
        table.add_column(
            column.title,
            justify="right" if column.figures else "left",
            no_wrap=column.title != "account",
            min_width=min(NAME, _longest(rows)) if column.title == "account" else least,
        )
    for row in rows:
        table.add_row(*row)
    return table


def _longest(rows: Sequence[Sequence[Text]]) -> int:
    """Return how wide the widest name is."""
    return max((row[0].cell_len for row in rows), default=0)


def _columns(accounts: Sequence[AccountStatus], layout: Layout) -> list[Column]:
    name, state = Column("account", _name, figures=False), Column("state", _state(layout), figures=False)
    moving = any(account.delivered_per_second is not None for account in accounts)
    every = [name, state, *(_paces(layout) if moving else [Column("rate/s", _rate)]), *_counts(layout)]
    return [column for column in every if column.title not in layout.without]


def _paces(layout: Layout) -> list[Column]:
    """Return the columns that need two measurements."""
    titles = ("delivered/s", "rate/s") if layout.words else ("out/s", "of")
    columns = [Column(titles[0], _pace), Column(titles[1], _effective), Column("use", _use(layout))]
    return [*columns, Column("trend", _trend(layout), figures=False)] if layout.trend else columns


def _counts(layout: Layout) -> list[Column]:
    def figure(value: int) -> Text:
        return Text(number(value) if layout.digits else short(value), style="" if value else "dim")

    return [
        Column("delivered" if layout.words else "sent", lambda account: figure(account.delivered)),
        Column("ready", lambda account: figure(account.seen.ready)),
        Column("leased", lambda account: figure(account.seen.leased)),
        Column("scheduled" if layout.words else "sched", lambda account: figure(account.seen.scheduled)),
        Column("dead", lambda account: figure(account.seen.dead)),
        Column("+1h" if layout.marks else "dead/h", _died),
        Column("oldest", _oldest),
    ]


def _name(account: AccountStatus) -> Text:
    return Text(plain(account.name), no_wrap=True, overflow="ellipsis")


def _state(layout: Layout) -> Cell:
    def cell(account: AccountStatus) -> Text:
        if not account.seen.configured:
            return Text("not configured" if layout.words else "unknown", style="yellow")
        name = account.seen.state.name
        mark = f"{MARKS[name]} " if layout.marks else ""
        return Text(mark + name.replace("_", " "), style=COLOURS.get(name, "red"))

    return cell


def _rate(account: AccountStatus) -> Text:
    configured, effective = account.rate_configured, account.rate_effective
    if configured is None or effective is None:
        return Text("")
    whole = effective >= configured
    return Text(number(configured) if whole else f"{effective:,.0f} of {configured:,}")


def _pace(account: AccountStatus) -> Text:
    pace = account.delivered_per_second
    return Text("-" if pace is None else number(pace), style="bold" if pace else "dim")


def _effective(account: AccountStatus) -> Text:
    """Return the effective rate, marked where it is lower than the configured one."""
    configured, effective = account.rate_configured, account.rate_effective
    if configured is None or effective is None:
        return Text("")
    return Text(number(effective), style="" if effective >= configured else "yellow")


def _use(layout: Layout) -> Cell:
    width = layout.bars

    def cell(account: AccountStatus) -> Text:
        if (use := account.rate_use) is None:
            return Text("")
        style = "yellow" if use >= FULL and account.seen.waiting else "cyan"
        return Text.assemble(bar(use, width, style), " " if width else "", f"{min(use, 9.99):4.0%}")

    return cell


def _oldest(account: AccountStatus) -> Text:
    age = account.seen.oldest_age
    return Text(span(age)) if age else Text("-", style="dim")


def _trend(layout: Layout) -> Cell:
    width = layout.trend

    def cell(account: AccountStatus) -> Text:
        line = sparkline(account.trail[-width:], account.rate_effective or 0.0)
        return Text(line.rjust(width), style="cyan" if any(account.trail[-width:]) else "dim")

    return cell


def _died(account: AccountStatus) -> Text:
    hour = account.pulse.dead_last_hour
    if not hour:
        return Text("-", style="dim")
    return Text(f"+{short(hour)}", style="red" if account.pulse.dead_last_minute else "yellow")
