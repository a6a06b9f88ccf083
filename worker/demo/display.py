"""The demo's terminal output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from worker.cli.screen import FINISHED, RUNNING
from worker.demo.audit import AccountResult


class Progress:
    """A progress line per account, on a terminal only."""

    def __init__(self, expected: Mapping[str, int]) -> None:
        self._expected = expected
        self._live = Live(console=Console(), refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(
        self, books: Mapping[str, Mapping[str, int]], pending: Mapping[str, int], dead: Mapping[str, int]
    ) -> None:
        """Show how far every account is."""
        lines = Table(box=None, pad_edge=False)
        for title in ("", "progress", "delivered", "other outcomes", "in progress"):
            lines.add_column(
                title, justify="left" if title in {"", "progress"} else "right", header_style="dim"
            )
        for account, expected in self._expected.items():
            delivered = books[account].get("delivered", 0)
            others = sum(books[account].get(place, 0) for place in ("duplicate", "skipped")) + dead[account]
            bar = ProgressBar(
                total=expected,
                completed=delivered + others,
                width=34,
                complete_style=RUNNING,
                finished_style=FINISHED,
            )
            lines.add_row(account, bar, str(delivered), str(others), str(pending[account]))
        self._live.update(lines)


def table(rows: Sequence[AccountResult]) -> Table:
    """Return the final table: a column for each account, or a line where they are many."""
    if len(rows) > 4:
        return _lines(rows)
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    result.add_column("")
    for row in rows:
        result.add_column(row.account, justify="right")
    for title, value in _LINES:
        result.add_row(title, *(value(row) for row in rows))
    return result


_LINES: tuple[tuple[str, Callable[[AccountResult], str]], ...] = (
    ("enqueued", lambda row: str(row.enqueued)),
    ("delivered", lambda row: str(row.delivered)),
    ("duplicates, not sent", lambda row: str(row.duplicates)),
    ("skipped (not reportable at Tencent)", lambda row: str(row.skipped)),
    ("dead letters", lambda row: str(row.dead)),
    ("retried attempts", lambda row: str(row.retried)),
    ("peak requests/s / limit", lambda row: f"{row.worst_second} / {row.limit}"),
    ("code entered to reported, p50 / p99", lambda row: f"{row.p50:.2f} s / {row.p99:.2f} s"),
)


def _lines(rows: Sequence[AccountResult]) -> Table:
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    result.add_column("", no_wrap=True)
    for title in ("events", "delivered", "dupl.", "skip", "dead", "retry", "peak/max", "p99"):
        result.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        counts = (row.enqueued, row.delivered, row.duplicates, row.skipped, row.dead, row.retried)
        peak = f"{row.worst_second}/{row.limit}"
        result.add_row(row.account, *map(str, counts), peak, f"{row.p99:.2f} s")
    return result
