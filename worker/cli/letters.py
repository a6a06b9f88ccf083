"""Look at dead letters: list, show, export."""

from __future__ import annotations

import itertools
import os
import sys
from base64 import b64encode
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import orjson
from rich.console import Console
from rich.text import Text

from config.visible import visible
from tasks.body import body_of
from tasks.dead_letters.filter import Filter
from tasks.dead_letters.letter import Letter
from tasks.dead_letters.store import DeadLetters
from worker.cli.errors import DONE, NO, WRONG, CommandError
from worker.cli.screen import safe, screen, table, write_json
from worker.cli.selection import Query, check_id
from worker.cli.session import session
from worker.fleet.wording import count, moment, number, plain, span

EXPORT_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
"""How an export is opened: letters hold message ids, so only its owner may read it, and no old file is overwritten."""

SHOWN_OF_MESSAGE = 4000
"""Characters of a message that are shown; an export has it whole."""


def list_letters(query: Query, *, limit: int, as_json: bool) -> int:
    """Print the newest letters, and how many more there are."""
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        wanted = query.checked(letters, opened.settings.accounts)
        now_ms = letters.now_ms()
        stream = letters.newest(wanted)
        shown = list(itertools.islice(stream, limit or None))
        more = _more(letters, wanted, stream, shown)
    if as_json:
        write_json({"dead_letters": [as_record(letter) for letter in shown], "more": more})
    else:
        _print_list(shown, more, now_ms)
    return DONE


def _more(letters: DeadLetters, wanted: Filter, rest: Iterator[Letter], shown: list[Letter]) -> int:
    if wanted.reads_stories:
        return sum(1 for _ in rest)
    return max(0, letters.count(wanted) - len(shown)) if next(rest, None) is not None else 0


def _print_list(shown: list[Letter], more: int, now_ms: int) -> None:
    console = screen()
    if not shown:
        console.print("no dead letters")
        return
    rows = table("id", "message id", "died", "reason", "doubt", "code or cause")
    rows.columns[0].no_wrap = True
    for letter in shown:
        rows.add_row(
            safe(letter.id),
            safe(letter.message_id),
            f"{span(max(0, now_ms - letter.died_ms) / 1000)} ago",
            safe(letter.reason),
            "yes" if letter.in_doubt else "",
            safe(" ".join([*_marks(letter), letter.text("code") or letter.text("why")])),
        )
    console.print(rows)
    if more:
        console.print(f"\n{number(more)} more: use --limit 0, a filter, or `dead stats`")


def _marks(letter: Letter) -> Iterator[str]:
    if letter.waits:
        yield "replaying:"
    if letter.replayed_ms is not None:
        yield "died again:"


def show_letter(id_: str, *, as_json: bool) -> int:
    """Print everything about one letter."""
    check_id(id_)
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        letter, now_ms = letters.find(id_), letters.now_ms()
    if letter is None:
        raise CommandError(NO, f"no dead letter with id {plain(id_)}")
    if as_json:
        write_json(as_record(letter))
    else:
        _print_letter(screen(), letter, now_ms)
    return DONE


def _print_letter(console: Console, letter: Letter, now_ms: int) -> None:
    console.print(safe(letter.id, "bold"))
    facts = table("", "")
    facts.show_header = False
    for name, value in _facts(letter, now_ms):
        if value:
            facts.add_row(Text(f"  {name}", style="dim"), safe(value))
    console.print(facts)
    _print_attempts(console, letter)
    raw = letter.raw or b""
    if not letter.event and (body := body_of(raw)) is not None:
        console.print("\nits body:")
        text = orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
        console.print(Text(visible(text)[:SHOWN_OF_MESSAGE]), soft_wrap=True)
    part = f"the first {number(len(raw))} of " if letter.cut else ""
    console.print(f"\nmessage as sent, {part}{count(letter.length, 'byte')}:")
    text = plain(raw.decode(errors="backslashreplace"))
    console.print(Text(text[:SHOWN_OF_MESSAGE]), soft_wrap=True)
    if len(text) > SHOWN_OF_MESSAGE:
        console.print(
            f"... cut after {number(SHOWN_OF_MESSAGE)} characters: `dead show --json` prints all of it"
        )


def _facts(letter: Letter, now_ms: int) -> Iterator[tuple[str, str]]:
    yield "account", letter.account
    yield "message id", letter.message_id
    yield "reason", " - ".join(word for word in (letter.reason, letter.text("why")) if word)
    yield "last result", letter.text("class")
    yield "code", letter.text("code")
    yield "provider says", letter.text("message")
    yield "request id", letter.text("request_id")
    yield "in doubt", "yes: the provider may have it" if letter.in_doubt else "no"
    yield "replay", "queued for replay" if letter.waits else ""
    again = letter.replayed_ms
    yield (
        "died again",
        f"it had been replayed at {moment(again)} UTC (see `audit`)" if again is not None else "",
    )
    deaths = letter.text("deaths")
    yield "worker deaths", "" if deaths == "0" else deaths
    yield "first leased", f"{moment(letter.first_ms)} UTC"
    yield "died", f"{moment(letter.died_ms)} UTC, {span(max(0, now_ms - letter.died_ms) / 1000)} ago"
    for field, value in letter.event.items():
        is_time = field.endswith("_at") and isinstance(value, int)
        yield f"event.{field}", f"{moment(value)} UTC" if is_time and isinstance(value, int) else str(value)


def _print_attempts(console: Console, letter: Letter) -> None:
    if not letter.attempts:
        console.print("\nnever sent")
        return
    console.print(f"\n{count(len(letter.attempts), 'attempt')} (UTC):")
    rows = table("at", "result", "code", "took", "provider says", right=("took",))
    for attempt in letter.attempts:
        at = attempt.get("at_ms")
        rows.add_row(
            moment(at) if isinstance(at, int) else "",
            safe(str(attempt.get("class"))),
            safe(str(attempt.get("code"))),
            f"{attempt.get('duration_ms')} ms",
            safe(str(attempt.get("message"))),
        )
    console.print(rows)


def export_letters(query: Query, output: Path | None) -> int:
    """Write letters as JSON lines."""
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        wanted = letters.until_now(query.checked(letters, opened.settings.accounts))
        written = write_letters(letters.letters(wanted, whole=True), output)
    where = f" to {output}" if output else ""
    print(f"exported {count(written, 'dead letter')}{where}", file=sys.stderr)
    return DONE


def write_letters(letters: Iterable[Letter], output: Path | None) -> int:
    """Write letters as JSON lines and return how many; a file is on the disk then, or CommandError is raised."""
    written = 0
    with _target(output) as file:
        for letter in letters:
            file.write(visible(orjson.dumps(as_record(letter)).decode()).encode() + b"\n")
            written += 1
        file.flush()
    return written


@contextmanager
def _target(output: Path | None) -> Generator[BinaryIO]:
    """Open standard output, or a file that appears under its name only when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        return
    if not output.name:
        raise CommandError(WRONG, f"{output} can't be written: it is not a file name")
    part = output.with_name(f"{output.name}.part")
    if os.path.lexists(output):
        raise CommandError(WRONG, f"{output} exists already: move it away, or choose another name")
    try:
        with os.fdopen(os.open(part, EXPORT_FLAGS, 0o600), "wb") as file, _taken_away(part):
            yield file
            os.fsync(file.fileno())
            os.link(part, output)  # unlike a renaming it replaces nothing
    except FileExistsError as error:
        there = error.filename2 or error.filename
        raise CommandError(WRONG, f"{there} exists already: move it away, or choose another name") from error
    except OSError as error:
        raise CommandError(WRONG, f"{output} can't be written: {error.strerror or error}") from error


@contextmanager
def _taken_away(part: Path) -> Generator[None]:
    try:
        yield
    finally:
        part.unlink()


def as_record(letter: Letter) -> dict[str, object]:
    """Return a letter for a script; its message, where it was read, in `raw` or, if no text, `raw_base64`."""
    record = {**letter.story, "id": letter.id, "account": letter.account, "died_ms": letter.died_ms}
    record["message_id"] = letter.message_id
    record["waiting_for_replay"] = letter.waits
    if not letter.readable:
        record["reason"] = letter.reason
    if letter.cut:
        record["bytes"] = letter.length
    if letter.raw is None:
        return record
    record["body"] = body_of(letter.raw)
    try:
        return record | {"raw": letter.raw.decode()}
    except UnicodeDecodeError:
        return record | {"raw_base64": b64encode(letter.raw).decode()}
