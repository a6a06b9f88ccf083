"""Correct dead letters by an edited export, and queue them for replay."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import orjson

from otpreport import Verification
from tasks.dead_letters.filter import Filter
from tasks.dead_letters.letter import UNREADABLE, Letter
from tasks.dead_letters.store import DeadLetters, ReplayPace
from worker.cli.errors import DONE, NO, WRONG, CommandError
from worker.cli.event_file import fields_of
from worker.cli.moves import Judge, Move, check_json
from worker.cli.replay import IN_DOUBT, LONG, NOT_CONFIGURED, WAITING, judge_of, read_share
from worker.cli.screen import screen, write_json
from worker.cli.selection import ID, Selection
from worker.cli.session import session
from worker.cli.who import who
from worker.fleet.wording import count, number, plain

LONGEST_LINE = 4_000_000
"""Bytes: a letter has its message up to three times, 64 KB each, in which a byte may take six."""

SHOWN_FAULTS = 10

CHANGED = "died again since the export (export them once more)"
UNCHANGED = "not changed: `dead replay` sends them as they are"


@dataclass(frozen=True, slots=True)
class Correction:
    """One line of the file: which letter, of which death, and the event in its place."""

    line: int
    id: str
    died_ms: int
    event: Verification


def import_letters(
    file: Path, *, share: str, include_in_doubt: bool, dry_run: bool, by: str, yes: bool, as_json: bool
) -> int:
    """Put the file's events in the place of their letters, and queue those for replay."""
    part, person = read_share(share), who(by)
    check_json(as_json=as_json, yes=yes or dry_run)
    corrections = {one.id: one for one in read_corrections(file)}
    events = {id_: one.event for id_, one in corrections.items()}
    with session() as opened:
        accounts = opened.settings.accounts
        letters = DeadLetters(opened.client, opened.keys)
        paces = {name: ReplayPace(part, one.rate_group, one.rate_limit) for name, one in accounts.items()}
        judge = _judge(corrections, judge_of(accounts, include_in_doubt=include_in_doubt))
        details: dict[str, object] = {"file": str(file), "share": part}
        move = Move("import", "imported", judge, lambda some: letters.correct(some, events, paces), details)
        selection = Selection(letters, Filter(), tuple(corrections))
        preview = move.decide(selection, yes=yes or dry_run, as_json=as_json)
        imported = 0 if dry_run else move.carry_out(opened, selection, preview, person)
    left = preview.left
    if as_json:
        write_json(
            {
                "found": preview.total,
                "imported": imported,
                "left_changed": left[CHANGED],
                "left_unchanged": left[UNCHANGED],
                "left_in_doubt": left[IN_DOUBT],
                "left_waiting": left[WAITING],
                "left_not_configured": left[NOT_CONFIGURED],
                "left_unreadable": left[UNREADABLE],
                "left_long": left[LONG],
                "not_found": preview.missing,
                "dry_run": dry_run,
            }
        )
    elif dry_run:
        screen().print("nothing was changed (--dry-run)")
    elif preview.total:
        text = f"corrected {count(imported, 'dead letter')} and queued for replay: see `dead progress`"
        screen().print(text, soft_wrap=True)
    return NO if preview.missing or set(left) - {WAITING, UNCHANGED} else DONE


def read_corrections(file: Path) -> list[Correction]:
    """Return what the file says; CommandError names its wrong lines, the first ten."""
    found, faults, lines = list[Correction](), list[str](), dict[str, int]()
    for number_, line in _lines(file):
        try:
            one = _correction(number_, line)
            if one.id in lines:
                raise ValueError(f"id: is in line {lines[one.id]} already")
        except ValueError as error:
            faults.append(f"{file}: line {number_}: {plain(str(error))}")
        else:
            lines[one.id] = number_
            found.append(one)
    if faults:
        more = [f"... and {number(len(faults) - SHOWN_FAULTS)} more"] if len(faults) > SHOWN_FAULTS else []
        raise CommandError(WRONG, *faults[:SHOWN_FAULTS], *more)
    if not found:
        raise CommandError(WRONG, f"{file}: has no dead letters: it takes what `dead export` wrote")
    return found


def _lines(file: Path) -> Iterable[tuple[int, bytes]]:
    try:
        with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as source:
            number_ = 0
            while line := source.readline(LONGEST_LINE + 1):
                number_ += 1
                if len(line) > LONGEST_LINE:
                    raise CommandError(
                        WRONG, f"{file}: line {number_}: is longer than {LONGEST_LINE:,} bytes"
                    )
                if number_ == 1:
                    line = line.removeprefix(BOM_UTF8)
                if line.strip():
                    yield number_, line
    except OSError as error:
        raise CommandError(WRONG, f"{file} can't be read: {error.strerror or error}") from error


def _correction(number_: int, line: bytes) -> Correction:
    """Read a line of an export; ValueError says what is wrong with it."""
    try:
        data: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} (a letter is one line)") from None
    if not isinstance(data, dict):
        raise ValueError("is not a JSON object")
    fields = cast("dict[str, object]", data)
    id_, died_ms, event = fields.get("id"), fields.get("died_ms"), fields.get("event")
    if not isinstance(id_, str) or not ID.fullmatch(id_):
        raise ValueError("id: must be as exported")
    if type(died_ms) is not int:
        raise ValueError("died_ms: must be as exported")
    if not isinstance(event, dict):
        raise ValueError("event: must be the corrected event, an object (`body` and `raw` are not read)")
    return Correction(number_, id_, died_ms, _event(cast("dict[str, object]", event), id_.partition(":")[0]))


def _event(data: Mapping[str, object], account: str) -> Verification:
    try:
        event = Verification.model_validate(fields_of(data))
    except ValueError as error:
        raise ValueError(f"event: {error}") from None
    if event.account != account:
        raise ValueError(
            f"event: account: must be {account}, in whose queue it was (`send` reports to another)"
        )
    return event


def _judge(corrections: Mapping[str, Correction], replayable: Judge) -> Judge:
    """Return the judge of which letters are not corrected, and why."""

    def judge(letter: Letter) -> str:
        one = corrections[letter.id]
        if letter.died_ms != one.died_ms:
            return CHANGED
        why = replayable(letter)
        return UNCHANGED if not why and letter.event == one.event.to_wire() else why

    return judge
