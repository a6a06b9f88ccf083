"""Which dead letters the operator means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from config.duration import parse_duration
from tasks.dead_letters import DeadLetters
from tasks.letter import UNREADABLE, Letter
from tasks.letter_filter import Filter
from tasks.retry import Reason
from worker.cli.stop import WRONG, Stop

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

    def filter(self, now_ms: int) -> Filter:
        """Return what is asked for at this time of Redis; Stop where it can't be read."""
        reasons = frozenset(self.reasons or ())
        for reason in sorted(reasons - REASONS):
            raise Stop(WRONG, f"--reason {reason}: known are {', '.join(sorted(REASONS))}")
        wanted = Filter(
            frozenset(self.accounts or ()),
            reasons,
            frozenset(self.codes or ()),
            read_when("--since", self.since, now_ms),
            read_when("--until", self.until, now_ms),
            self.in_doubt,
        )
        if wanted.since_ms is not None and wanted.until_ms is not None and wanted.since_ms > wanted.until_ms:
            raise Stop(WRONG, "--since lies after --until: nothing can match")
        return wanted

    def to_move(self, letters: DeadLetters) -> Selection:
        """Return what a command shall move: named ones, a filter's, or all; Stop where it does not say."""
        wanted = self.filter(letters.now_ms())
        if self.ids and (self.every or not wanted.is_open):
            raise Stop(WRONG, "give either ids, or a filter, or --all")
        if self.every and not wanted.is_open:
            raise Stop(WRONG, "--all is every dead letter: leave it out to use the filter")
        if not self.ids and not self.every and wanted.is_open:
            raise Stop(WRONG, "say which: ids, a filter such as --account or --code, or --all")
        return Selection(letters, letters.until_now(wanted), tuple(dict.fromkeys(self.ids)))


@dataclass(frozen=True, slots=True)
class Selection:
    """Letters to be moved, which are read anew on each pass: some may have gone meanwhile."""

    letters: DeadLetters
    wanted: Filter
    ids: tuple[str, ...]

    def read(self) -> Iterator[Letter]:
        """Yield the letters."""
        if self.ids:
            yield from (letter for id_ in self.ids if (letter := self.letters.find(id_)) is not None)
        else:
            yield from self.letters.letters(self.wanted)


def read_when(option: str, text: str, now_ms: int) -> int | None:
    """Return the time that `2h` (ago) or an ISO 8601 time means, in ms; without a zone it is UTC."""
    if not text:
        return None
    ago = parse_duration(text)
    # a number alone is refused: 2026 may be a year
    if isinstance(ago, float) and text.strip()[-1].isalpha():
        return now_ms - round(ago * 1000)
    try:
        moment = datetime.fromisoformat("" if text.isdecimal() and len(text) < 8 else text)
    except ValueError:
        mend = "write how long ago (30m, 2h, 7d) or a time such as 2026-05-01T12:00"
        raise Stop(WRONG, f"{option} {text!r} is no time: {mend}") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
