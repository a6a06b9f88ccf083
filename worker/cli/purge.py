"""Delete dead letters for good."""

from __future__ import annotations

from pathlib import Path

from tasks.dead_letters import DeadLetters
from worker.cli.letters import write_letters
from worker.cli.moves import Move, check_json
from worker.cli.screen import count, screen, write_json
from worker.cli.selection import Query, Selection
from worker.cli.session import session
from worker.cli.stop import DONE, NO, WRONG, Stop
from worker.cli.who import who

WAITING = "that wait to be sent again (`dead recall` ends that)"


def purge_letters(query: Query, *, export: Path | None, by: str, yes: bool, as_json: bool) -> int:
    """Purge what the query selects; where a file is named, only once they are all in it."""
    person = who(by)
    check_json(as_json=as_json, yes=yes)
    if export is not None and export.exists():
        raise Stop(WRONG, f"--export {export}: this file is there already, and is kept: name another")
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        selection = query.to_move(letters, opened.settings.accounts)
        details: dict[str, object] = {} if export is None else {"export": str(export.absolute())}
        move = Move("purge", "purged", lambda one: WAITING if one.waits else "", letters.purge, details)
        preview = move.decide(selection, yes=yes, as_json=as_json)
        exported = _export(move, selection, export) if preview.total else 0
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


def _export(move: Move, selection: Selection, export: Path | None) -> int:
    """Write to the file what can be purged after that, and return how many: none comes to a time that is past."""
    if export is None:
        return 0
    return write_letters((one for one in selection.read(whole=True) if not move.judge(one)), export)
