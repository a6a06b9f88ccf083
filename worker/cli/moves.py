"""Move dead letters: replay and purge, both after a look at what it would be."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import typer
from redis.exceptions import RedisError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from config.logging import configure, log_event
from tasks.dead_letters import DeadLetters
from tasks.letter import Letter
from worker.cli.screen import count, number, plain, safe, screen, table, write_json
from worker.cli.selection import Query, Selection
from worker.cli.session import Session, refusal, session
from worker.cli.stop import DONE, NO, WRONG, Stop

logger = logging.getLogger("otpreport.dead")

Judge = Callable[[Letter], str]
"""Says why a letter is left where it is; nothing when it goes."""

IN_DOUBT = "in doubt: the provider may have taken them (--include-in-doubt replays them, too)"
NOT_CONFIGURED = "of accounts that are not configured: nobody would serve them"
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Move:
    """What is done with the letters, in the words of question and result; `run` yields its progress."""

    asked: str
    done: str
    judge: Judge
    run: Callable[[Iterable[Letter]], Iterator[int]]


@dataclass(slots=True)
class Preview:
    """What there is to move: counts by account and reason, and by why some are left."""

    goes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    left: Counter[str] = field(default_factory=Counter[str])
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, selection: Selection, judge: Judge) -> Preview:
        """Look at every letter of the selection."""
        preview, found = cls(), set[str]()
        for letter in selection.read():
            why = judge(letter)
            preview.left.update([why] if why else [])
            preview.goes.update([] if why else [(letter.account, letter.reason)])
            if selection.ids:
                found.add(letter.id)
        preview.missing = tuple(id_ for id_ in selection.ids if id_ not in found)
        return preview


def replay_letters(query: Query, *, include_in_doubt: bool, yes: bool, as_json: bool) -> int:
    """Replay what the query selects."""
    with session() as opened:
        configured = frozenset(opened.settings.accounts)

        def judge(letter: Letter) -> str:
            if letter.account not in configured:
                return NOT_CONFIGURED
            if not letter.readable:
                return UNREADABLE
            return IN_DOUBT if letter.in_doubt and not include_in_doubt else ""

        letters = DeadLetters(opened.client, opened.keys)
        move = Move("replay", "replayed", judge, letters.replay)
        return _carry_out(opened, query.to_move(letters), move, yes=yes, as_json=as_json)


def purge_letters(query: Query, *, yes: bool, as_json: bool) -> int:
    """Purge what the query selects."""
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        move = Move("purge", "purged", lambda _: "", letters.purge)
        return _carry_out(opened, query.to_move(letters), move, yes=yes, as_json=as_json)


def _carry_out(opened: Session, selection: Selection, move: Move, *, yes: bool, as_json: bool) -> int:
    if as_json and not yes:
        raise Stop(WRONG, "--json needs --yes: a script can't be asked")
    preview = Preview.of(selection, move.judge)
    total = preview.goes.total()
    if not as_json:
        _print_preview(preview, move)
    if total and not yes:
        _ask(move, total)
    chosen = (letter for letter in selection.read() if not move.judge(letter))
    moved = _run(opened, move, move.run(chosen), total) if total else 0
    _print_result(preview, move, moved, as_json=as_json)
    unmet = preview.missing or (selection.ids and preview.left)
    return NO if unmet else DONE


def _print_preview(preview: Preview, move: Move) -> None:
    console = screen()
    if preview.goes:
        rows = table("account", "reason", "letters", right=("letters",))
        for (account, reason), letters in sorted(preview.goes.items()):
            rows.add_row(safe(account), safe(reason), number(letters))
        console.print(rows)
    else:
        console.print(f"nothing to {move.asked}")
    for why, letters in sorted(preview.left.items()):
        console.print(f"left alone: {number(letters)} {why}", soft_wrap=True)
    for id_ in preview.missing:
        console.print(f"no dead letter has the id {plain(id_)}", soft_wrap=True)


def _ask(move: Move, total: int) -> None:
    if not sys.stdin.isatty():
        raise Stop(WRONG, f"there is no terminal to ask on: add --yes to {move.asked}")
    if not typer.confirm(f"{move.asked.capitalize()} {count(total, 'dead letter')}?"):
        raise Stop(NO, f"nothing was {move.done}")


def _run(opened: Session, move: Move, batches: Iterator[int], total: int) -> int:
    """Move batch by batch; tell how far it came, whatever ends it."""
    configure(opened.settings.log_level, opened.settings.log_format)
    moved = 0
    try:
        with _progress(move) as progress:
            bar = progress.add_task(move.asked, total=total)
            for batch in batches:
                moved += batch
                progress.update(bar, completed=moved)
    except RedisError as error:
        stop = refusal(opened.settings, error)
        mend = f"{move.done} before that: {number(moved)}; run the same command again for the rest"
        raise Stop(stop.status, *stop.lines, mend) from error
    finally:
        log_event(logger, logging.INFO, f"dead letters {move.done}", letters=moved, of=total)
    return moved


def _progress(move: Move) -> Progress:
    console = screen(sys.stderr)
    columns = (TextColumn(move.asked), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _print_result(preview: Preview, move: Move, moved: int, *, as_json: bool) -> None:
    left = preview.left
    if as_json:
        write_json(
            {
                move.done: moved,
                "left_in_doubt": left[IN_DOUBT],
                "left_not_configured": left[NOT_CONFIGURED],
                "left_unreadable": left[UNREADABLE],
                "not_found": preview.missing,
            }
        )
    elif preview.goes:
        screen().print(f"{move.done} {count(moved, 'dead letter')}")
