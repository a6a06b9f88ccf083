"""Delete dead letters permanently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.dead_letters.letter import Letter
from tasks.dead_letters.store import DeadLetters
from worker.cli.errors import DONE, NO, WRONG, CommandError
from worker.cli.letters import write_letters
from worker.cli.moves import Judge, Move, check_json
from worker.cli.screen import screen, write_json
from worker.cli.selection import Query, Selection
from worker.cli.session import session
from worker.cli.who import who
from worker.fleet.wording import count

WAITING = "queued for replay (`dead recall` cancels that)"

UNWRITTEN = "not in the export file"


@dataclass(frozen=True, slots=True)
class Written:
    """The deaths written to the file, some 140 bytes each: a letter may be recalled after it was written."""

    deaths: set[str] = field(default_factory=set[str])

    def noting(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """Yield the letters and remember them."""
        for letter in letters:
            self.deaths.add(_death(letter))
            yield letter

    def narrow(self, judge: Judge) -> Judge:
        """Return a judge that also skips letters without a copy in the file."""
        return lambda letter: judge(letter) or ("" if _death(letter) in self.deaths else UNWRITTEN)


def _death(letter: Letter) -> str:
    return f"{letter.id} {letter.died_ms}"


def purge_letters(query: Query, *, export: Path | None, by: str, yes: bool, as_json: bool) -> int:
    """Purge the selected letters; with `export`, only after all of them are in that file."""
    person = who(by)
    check_json(as_json=as_json, yes=yes)
    if export is not None and export.exists():
        raise CommandError(WRONG, f"--export {export}: this file exists already: choose another name")
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        selection = query.to_move(letters, opened.settings.accounts)
        details: dict[str, object] = {} if export is None else {"export": str(export.absolute())}
        move = Move("purge", "purged", lambda one: WAITING if one.waits else "", letters.purge, details)
        preview = move.decide(selection, yes=yes, as_json=as_json)
        exported = 0
        if export is not None and preview.total:
            written = Written()
            exported = write_letters(written.noting(_whole(move, selection)), export)
            move = replace(move, judge=written.narrow(move.judge))
        purged = move.carry_out(opened, selection, preview, person)
    if as_json:
        left = preview.left[WAITING]
        write_json(
            {"purged": purged, "exported": exported, "left_waiting": left, "not_found": preview.missing}
        )
    elif preview.total:
        where = f", all of them in {export}" if export is not None else ""
        screen().print(f"purged {count(purged, 'dead letter')}{where}", soft_wrap=True)
    return NO if preview.missing or (selection.ids and preview.left) else DONE


def _whole(move: Move, selection: Selection) -> Iterator[Letter]:
    """Yield what can be purged, with the messages."""
    return (one for one in selection.read(whole=True) if not move.judge(one))
