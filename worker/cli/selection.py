"""Which dead letters a command applies to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from config.duration import parse_duration
from config.faults import nearest
from tasks.dead_letters.filter import Filter
from tasks.dead_letters.letter import UNREADABLE, Letter
from tasks.dead_letters.store import DeadLetters
from tasks.retry import Reason
from worker.cli.errors import WRONG, CommandError
from worker.fleet.wording import iso, plain

ID = re.compile(r"[a-z0-9_-]{1,64}:[^\s:]+:[0-9]+")
"""What an id looks like: account, worker, number."""

REASONS = frozenset({*(reason.value for reason in Reason), UNREADABLE})


@dataclass(frozen=True, slots=True)
class Query:
    """The options as they were typed."""

    accounts: Iterable[str] | None = None
    reasons: Iterable[str] | None = None
    codes: Iterable[str] | None = None
    since: str = ""
    until: str = ""
    in_doubt: bool | None = None
    ids: tuple[str, ...] = ()
    every: bool = False
    message_ids: Iterable[str] | None = None

    def filter(self, now_ms: int) -> Filter:
        """Return the filter, with times relative to Redis' clock; CommandError for an invalid option."""
        reasons = frozenset(self.reasons or ())
        for reason in sorted(reasons - REASONS):
            near = nearest(reason, REASONS)
            meant = f"did you mean {near}? Use" if near else "use"
            raise CommandError(
                WRONG, f"--reason {plain(reason)} is unknown: {meant} {', '.join(sorted(REASONS))}"
            )
        wanted = Filter(
            frozenset(self.accounts or ()),
            reasons,
            frozenset(self.codes or ()),
            read_when("--since", self.since, now_ms),
            read_when("--until", self.until, now_ms),
            self.in_doubt,
            frozenset(self.message_ids or ()),
        )
        if wanted.since_ms is not None and wanted.until_ms is not None and wanted.since_ms > wanted.until_ms:
            raise CommandError(WRONG, "--since is later than --until: nothing can match")
        return wanted

    def checked(self, letters: DeadLetters, configured: Collection[str]) -> Filter:
        """Return the filter; CommandError also for an account that is neither configured nor has dead letters."""
        wanted = self.filter(letters.now_ms())
        _check_accounts(wanted, letters, configured)
        return wanted

    def to_move(self, letters: DeadLetters, configured: Collection[str]) -> Selection:
        """Return the letters to move: by id, by filter, or all; CommandError if none is selected."""
        wanted = self.filter(letters.now_ms())
        for id_ in self.ids:
            check_id(id_)
        if self.ids and (self.every or not wanted.is_open):
            raise CommandError(WRONG, "give ids, a filter or --all, not several of them")
        if self.every and not wanted.is_open:
            raise CommandError(WRONG, "--all means every dead letter: leave it out to use the filter")
        if not self.ids and not self.every and wanted.is_open:
            raise CommandError(
                WRONG, "select the letters: ids, a filter such as --account or --code, or --all"
            )
        _check_accounts(wanted, letters, configured)
        return Selection(letters, letters.until_now(wanted), tuple(dict.fromkeys(self.ids)))


@dataclass(frozen=True, slots=True)
class Selection:
    """The letters to move; each pass reads them again, since some may have gone."""

    letters: DeadLetters
    wanted: Filter
    ids: tuple[str, ...]

    def read(self, *, whole: bool = False) -> Iterator[Letter]:
        """Yield the letters; `whole`: with their messages."""
        if self.ids:
            yield from (letter for id_ in self.ids if (letter := self.letters.find(id_)) is not None)
        else:
            yield from self.letters.letters(self.wanted, whole=whole)

    @property
    def details(self) -> Mapping[str, object]:
        """The selection, for the audit: the ids (the first hundred), or the filter."""
        if self.ids:
            return {"ids": self.ids[:100]}
        wanted = self.wanted
        words: dict[str, object] = {
            "accounts": sorted(wanted.accounts),
            "reasons": sorted(wanted.reasons),
            "codes": sorted(wanted.codes),
            "message_ids": sorted(wanted.message_ids),
            "since": iso(wanted.since_ms),
            "until": iso(wanted.until_ms),
            "in_doubt": wanted.in_doubt,
        }
        return {"filter": {name: word for name, word in words.items() if word not in (None, [])}}


def _check_accounts(wanted: Filter, letters: DeadLetters, configured: Collection[str]) -> None:
    unknown = sorted(wanted.accounts.difference(configured))
    known = {*configured, *letters.accounts()} if unknown else set[str]()
    for name in unknown:
        if name not in known:
            near = nearest(name, known)
            fix = f"did you mean {near}?" if near else f"use one of {', '.join(sorted(known))}"
            raise CommandError(WRONG, f"--account {plain(name)}: no such account: {fix}")


def check_id(id_: str) -> None:
    """Raise CommandError where this can't be the id of a dead letter."""
    if not ID.fullmatch(id_):
        raise CommandError(
            WRONG,
            f"{plain(id_[:80])} is not an id: an id looks like tencent:4f1d2a90c3be:17, see `dead list`; "
            "for a message id use `find`",
        )


def read_when(option: str, text: str, now_ms: int) -> int | None:
    """Return the time that `2h` (ago) or an ISO 8601 time means, in ms; without a zone it is UTC."""
    if not text:
        return None
    ago = parse_duration(text)
    # a number alone is refused: 2026 may be a year
    if isinstance(ago, float) and text.strip()[-1].isalpha() and 0 <= ago * 1000 <= now_ms:
        return now_ms - round(ago * 1000)
    try:
        moment = datetime.fromisoformat("" if text.isdecimal() and len(text) < 8 else text)
    except ValueError:
        fix = "write how long ago (30m, 2h, 7d) or a time such as 2026-05-01T12:00"
        raise CommandError(WRONG, f"{option} {text!r} is not a time: {fix}") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
