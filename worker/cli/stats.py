"""Count dead letters by what they have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tasks.dead_letters.letter import Letter
from tasks.dead_letters.store import DeadLetters
from worker.cli.errors import DONE, WRONG, CommandError
from worker.cli.screen import safe, screen, table, write_json
from worker.cli.selection import Query
from worker.cli.session import session
from worker.fleet.wording import count, iso, number, span

MOST = 10_000
"""Groups that are counted separately; the letters of all others are counted together."""


def _hour(letter: Letter) -> str:
    """Return the hour in which it died, UTC."""
    return f"{(iso(letter.died_ms) or '')[:13]}:00Z"


FIELDS: Mapping[str, Callable[[Letter], str]] = {
    "account": lambda letter: letter.account,
    "reason": lambda letter: letter.reason,
    "code": lambda letter: letter.text("code"),
    "hour": _hour,
}
"""What letters can be counted by."""

Key = tuple[str, ...]


@dataclass(slots=True)
class LetterGroup:
    """Letters that are counted together."""

    letters: int = 0
    in_doubt: int = 0
    waiting: int = 0
    oldest_ms: int = sys.maxsize
    newest_ms: int = 0

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        self.letters += 1
        self.in_doubt += letter.in_doubt
        self.waiting += letter.waits
        self.oldest_ms = min(self.oldest_ms, letter.died_ms)
        self.newest_ms = max(self.newest_ms, letter.died_ms)


@dataclass(frozen=True, slots=True)
class Stats:
    """The groups, largest first, or hour by hour; `total` is of all letters, also of those in no group."""

    by: Key
    groups: list[tuple[Key, LetterGroup]]
    total: LetterGroup

    @classmethod
    def of(cls, letters: Iterable[Letter], by: Key, *, most: int = MOST) -> Stats:
        """Count letters one by one; memory is bounded by `most` groups, not by the number of letters."""
        fields = [FIELDS[name] for name in by]
        groups: dict[Key, LetterGroup] = {}
        total = LetterGroup()
        for letter in letters:
            total.add(letter)
            key = tuple(field(letter) for field in fields)
            group = groups.get(key)
            if group is None and len(groups) < most:
                group = groups[key] = LetterGroup()
            if group is not None:
                group.add(letter)
        hour = by.index("hour") if "hour" in by else None
        order = sorted(groups.items(), key=lambda item: (-item[1].letters, item[0]))
        if hour is not None:
            order.sort(key=lambda item: item[0][hour])
        return cls(by, order, total)

    @property
    def ungrouped(self) -> int:
        """How many letters are in no group, because there are too many groups."""
        return self.total.letters - sum(group.letters for _, group in self.groups)


def show_stats(query: Query, *, by: str, as_json: bool) -> int:
    """Print how many letters there are by account, reason, code and hour."""
    fields = read_by(by)
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        configured = frozenset(opened.settings.accounts)
        wanted = query.checked(letters, configured)
        stats, now_ms = Stats.of(letters.letters(wanted), fields), letters.now_ms()
    if as_json:
        write_json(_record(stats))
    else:
        _print(stats, configured, now_ms)
    return DONE


def read_by(text: str) -> Key:
    """Return the fields of `account,hour`; CommandError for an unknown one, or none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in FIELDS:
            raise CommandError(WRONG, f"--by {name} is unknown: use {', '.join(FIELDS)}")
    if not names:
        raise CommandError(WRONG, f"--by is empty: name one or more of {', '.join(FIELDS)}")
    return names


def _record(stats: Stats) -> dict[str, object]:
    return {
        "dead_letters": stats.total.letters,
        "in_doubt": stats.total.in_doubt,
        "waiting_for_replay": stats.total.waiting,
        "groups": [
            {
                **dict(zip(stats.by, key, strict=True)),
                "dead_letters": group.letters,
                "in_doubt": group.in_doubt,
                "waiting_for_replay": group.waiting,
                "oldest": iso(group.oldest_ms),
                "newest": iso(group.newest_ms),
            }
            for key, group in stats.groups
        ],
        "ungrouped": stats.ungrouped,
    }


def _print(stats: Stats, configured: frozenset[str], now_ms: int) -> None:
    console = screen()
    if not stats.groups:
        console.print("no dead letters")
        return
    fields = [name for name in stats.by if name != "code"]
    last = ["code"] if "code" in stats.by else []  # it may be long
    columns = [*fields, "letters", "doubt", "replaying", "newest", *last]
    rows = table(*columns, right=("letters", "doubt", "replaying"))
    unconfigured = False
    for key, group in stats.groups:
        words = dict(zip(stats.by, key, strict=True))
        if words.get("account", "") not in configured and "account" in words:
            words["account"] += "*"
            unconfigured = True
        numbers = (number(value) if value else "" for value in (group.letters, group.in_doubt, group.waiting))
        newest = f"{span(max(0, now_ms - group.newest_ms) / 1000)} ago"
        rows.add_row(*(safe(words[n]) for n in fields), *numbers, newest, *(safe(words[n]) for n in last))
    console.print(rows)
    total = stats.total
    waiting = f", {number(total.waiting)} queued for replay" if total.waiting else ""
    console.print(
        f"\n{count(total.letters, 'dead letter')}, {number(total.in_doubt)} of them in doubt{waiting}"
    )
    if stats.ungrouped:
        console.print(f"{number(stats.ungrouped)} of them in further groups, beyond the first {number(MOST)}")
    if unconfigured:
        console.print("* not configured")
