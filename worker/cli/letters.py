"""Look at dead letters: list, show, count, export."""

from __future__ import annotations

import itertools
import sys
from base64 import b64encode
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson
from rich.console import Console
from rich.text import Text

from tasks.dead_letters import DeadLetters
from tasks.letter import Letter
from tasks.letter_filter import Filter
from worker.cli.screen import count, iso, moment, number, plain, safe, screen, span, table, write_json
from worker.cli.selection import Query
from worker.cli.session import session
from worker.cli.stop import DONE, NO, WRONG, Stop

SHOWN_OF_MESSAGE = 4000
"""Characters of a message that are shown; an export has it whole."""


def list_letters(query: Query, *, limit: int, as_json: bool) -> int:
    """Print the newest letters, and how many more there are."""
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        now_ms = letters.now_ms()
        wanted = query.filter(now_ms)
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
    rows = table("id", "died", "reason", "doubt", "code or why")
    rows.columns[0].no_wrap = True
    for letter in shown:
        rows.add_row(
            safe(letter.id),
            f"{span(max(0, now_ms - letter.died_ms) / 1000)} ago",
            safe(letter.reason),
            "yes" if letter.in_doubt else "",
            safe(letter.text("code") or letter.text("why")),
        )
    console.print(rows)
    if more:
        console.print(f"\nand {number(more)} more: use --limit 0, a filter, or `dead stats`")


def show_letter(id_: str, *, as_json: bool) -> int:
    """Print everything about one letter."""
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        letter, now_ms = letters.find(id_), letters.now_ms()
    if letter is None:
        raise Stop(NO, f"no dead letter has the id {plain(id_)}")
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
    console.print(f"\nmessage as sent, {count(len(raw), 'byte')}:")
    text = plain(raw.decode(errors="backslashreplace"))
    console.print(Text(text[:SHOWN_OF_MESSAGE]), soft_wrap=True)
    if len(text) > SHOWN_OF_MESSAGE:
        console.print(
            f"... cut after {number(SHOWN_OF_MESSAGE)} characters: `dead show --json` has all of it"
        )


def _facts(letter: Letter, now_ms: int) -> Iterator[tuple[str, str]]:
    yield "account", letter.account
    yield "reason", " - ".join(word for word in (letter.reason, letter.text("why")) if word)
    yield "last result", letter.text("class")
    yield "code", letter.text("code")
    yield "provider says", letter.text("message")
    yield "request id", letter.text("request_id")
    yield "in doubt", "yes: the provider may have taken it" if letter.in_doubt else "no"
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


@dataclass(slots=True)
class _Group:
    """The letters of one account, reason and code."""

    letters: int = 0
    in_doubt: int = 0
    oldest_ms: int = sys.maxsize
    newest_ms: int = 0

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        self.letters += 1
        self.in_doubt += letter.in_doubt
        self.oldest_ms = min(self.oldest_ms, letter.died_ms)
        self.newest_ms = max(self.newest_ms, letter.died_ms)


Groups = list[tuple[tuple[str, str, str], _Group]]


def show_stats(query: Query, *, as_json: bool) -> int:
    """Print how many letters there are by account, reason and code."""
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        now_ms = letters.now_ms()
        groups = _grouped(letters.letters(query.filter(now_ms)))
        configured = frozenset(opened.settings.accounts)
    if as_json:
        write_json(_stats_record(groups))
    else:
        _print_stats(groups, configured, now_ms)
    return DONE


def _grouped(letters: Iterable[Letter]) -> Groups:
    groups: dict[tuple[str, str, str], _Group] = {}
    for letter in letters:
        key = letter.account, letter.reason, letter.text("code")
        groups.setdefault(key, _Group()).add(letter)
    return sorted(groups.items(), key=lambda item: (-item[1].letters, item[0]))


def _stats_record(groups: Groups) -> dict[str, object]:
    return {
        "dead_letters": sum(group.letters for _, group in groups),
        "in_doubt": sum(group.in_doubt for _, group in groups),
        "groups": [
            {
                "account": account,
                "reason": reason,
                "code": code,
                "dead_letters": group.letters,
                "in_doubt": group.in_doubt,
                "oldest": iso(group.oldest_ms),
                "newest": iso(group.newest_ms),
            }
            for (account, reason, code), group in groups
        ],
    }


def _print_stats(groups: Groups, configured: frozenset[str], now_ms: int) -> None:
    console = screen()
    if not groups:
        console.print("no dead letters")
        return
    rows = table("account", "reason", "letters", "doubt", "newest", "code", right=("letters", "doubt"))
    for (account, reason, code), group in groups:
        known = "" if account in configured else "*"
        newest = f"{span(max(0, now_ms - group.newest_ms) / 1000)} ago"
        doubt = number(group.in_doubt) if group.in_doubt else ""
        rows.add_row(safe(account + known), safe(reason), number(group.letters), doubt, newest, safe(code))
    console.print(rows)
    total, in_doubt = (sum(part) for part in zip(*((g.letters, g.in_doubt) for _, g in groups), strict=True))
    console.print(f"\n{count(total, 'dead letter')}, {number(in_doubt)} of them in doubt")
    if any(account not in configured for (account, _, _), _ in groups):
        console.print("* not configured")


def export_letters(query: Query, output: Path | None) -> int:
    """Write letters as JSON lines."""
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        wanted = letters.until_now(query.filter(letters.now_ms()))
        with _target(output) as file:
            written = 0
            for letter in letters.letters(wanted, whole=True):
                file.write(orjson.dumps(as_record(letter), option=orjson.OPT_APPEND_NEWLINE))
                written += 1
            file.flush()
    where = f" to {output}" if output else ""
    print(f"exported {count(written, 'dead letter')}{where}", file=sys.stderr)
    return DONE


@contextmanager
def _target(output: Path | None) -> Generator[BinaryIO]:
    """Open standard output, or a file that appears under its name only when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(output)
    except OSError as error:
        raise Stop(WRONG, f"{output} can't be written: {error.strerror or error}") from error


def as_record(letter: Letter) -> dict[str, object]:
    """Return a letter for a script; its message, where it was read, in `raw` or, if no text, `raw_base64`."""
    record = {**letter.story, "id": letter.id, "account": letter.account, "died_ms": letter.died_ms}
    if not letter.readable:
        record["reason"] = letter.reason
    if letter.raw is None:
        return record
    try:
        return record | {"raw": letter.raw.decode()}
    except UnicodeDecodeError:
        return record | {"raw_base64": b64encode(letter.raw).decode()}
