"""Change many dead letters: preview, confirm, apply in batches, audit."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from config.logging import configure, log_event
from tasks.dead_letters.letter import Letter
from worker.cli.ask import ask
from worker.cli.errors import WRONG, CommandError
from worker.cli.screen import FINISHED, RUNNING, safe, screen, table
from worker.cli.selection import Selection
from worker.cli.session import Session
from worker.cli.written import SoFar, audited
from worker.fleet.wording import count, number, plain

logger = logging.getLogger("otpreport.dead")

Judge = Callable[[Letter], str]
"""Returns why a letter is skipped; empty if it is not."""


@dataclass(slots=True)
class Preview:
    """The letters that would be moved, by account and reason, and those skipped, by cause."""

    goes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    left: Counter[str] = field(default_factory=Counter[str])
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, selection: Selection, judge: Judge) -> Preview:
        """Judge every letter of the selection."""
        preview, found = cls(), set[str]()
        for letter in selection.read():
            why = judge(letter)
            preview.left.update([why] if why else [])
            preview.goes.update([] if why else [(letter.account, letter.reason)])
            if selection.ids:
                found.add(letter.id)
        preview.missing = tuple(id_ for id_ in selection.ids if id_ not in found)
        return preview

    @property
    def total(self) -> int:
        """Letters to move."""
        return self.goes.total()

    @property
    def accounts(self) -> Counter[str]:
        """Letters to move, by account."""
        counts = Counter[str]()
        for (account, _), letters in self.goes.items():
            counts[account] += letters
        return counts

    def print(self, asked: str) -> None:
        """Show it to the operator."""
        console = screen()
        if self.goes:
            rows = table("account", "reason", "letters", right=("letters",))
            for (account, reason), letters in sorted(self.goes.items()):
                rows.add_row(safe(account), safe(reason), number(letters))
            console.print(rows)
        else:
            console.print(f"nothing to {asked}")
        for why, letters in sorted(self.left.items()):
            console.print(f"skipped: {number(letters)} {why}", soft_wrap=True)
        for id_ in self.missing:
            console.print(f"no dead letter with id {plain(id_)}", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Move:
    """One bulk change: its words for question, result and audit; `run` yields its progress."""

    asked: str
    done: str
    judge: Judge
    run: Callable[[Iterable[Letter]], Iterator[int]]
    details: Mapping[str, object] = field(default_factory=dict[str, object])

    def decide(
        self,
        selection: Selection,
        *,
        yes: bool,
        as_json: bool,
        details: Callable[[Preview], Iterable[str]] = lambda _: (),
    ) -> Preview:
        """Show the preview, with the lines of `details`, and return it once the operator has confirmed."""
        preview = Preview.of(selection, self.judge)
        if not as_json:
            preview.print(self.asked)
            for line in details(preview):
                screen().print(safe(line), soft_wrap=True)
        if preview.total and not yes:
            self._ask(preview.total)
        return preview

    def _ask(self, total: int) -> None:
        """Ask for confirmation."""
        ask(
            f"{self.asked.capitalize()} {count(total, 'dead letter')}?",
            unattended=f"no terminal to confirm on: add --yes to {self.asked}",
            refused=f"nothing was {self.done}",
        )

    def carry_out(self, opened: Session, selection: Selection, preview: Preview, by: str) -> int:
        """Move the letters and return how many; audited at the start, and at the end with the result."""
        total = preview.total
        if not total:
            return 0
        configure(opened.settings.log_level, opened.settings.log_format)
        chosen = (letter for letter in selection.read() if not self.judge(letter))
        so_far, details = SoFar(), {**selection.details, **self.details}
        try:
            with audited(opened, self.asked, self.done, so_far, of=total, by=by, letters=total, **details):
                show_batches(self.asked, self.run(chosen), so_far, total)
        finally:
            log_event(
                logger,
                logging.INFO,
                f"dead letters {self.done}",
                letters=so_far.moved,
                of=total,
                by=by,
                result=so_far.result,
            )
        return so_far.moved


def show_batches(what: str, batches: Iterable[int], so_far: SoFar, total: int) -> None:
    """Let each batch be moved, count it in `so_far`, and show how far that is."""
    with progress() as shown:
        bar = shown.add_task(what, total=total)
        for batch in batches:
            so_far.moved += batch
            shown.update(bar, completed=so_far.moved)


def check_json(*, as_json: bool, yes: bool) -> None:
    """Raise CommandError where a script would have to confirm."""
    if as_json and not yes:
        raise CommandError(WRONG, "--json needs --yes: a script can't confirm")


def progress() -> Progress:
    """Return a progress bar; it shows nothing without a terminal."""
    console = screen(sys.stderr)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(complete_style=RUNNING, finished_style=FINISHED),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
