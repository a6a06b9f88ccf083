"""Which dead letters are meant."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tasks.dead_letters.letter import Letter


def matches_code(code: str, wanted: Collection[str]) -> bool:
    """Whether it is one of the codes, which may hold `*` and `?`; no codes let everything through."""
    return not wanted or any(fnmatchcase(code, one) for one in wanted)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a dead letter must be; an empty set and None let everything through.

    A code may hold `*` and `?`. Times are ms of Redis' clock, both ends included.
    """

    accounts: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    in_doubt: bool | None = None
    message_ids: frozenset[str] = frozenset()

    def matches(self, letter: Letter) -> bool:
        """Judge what the index does not know: account and time were chosen before."""
        if self.reasons and letter.reason not in self.reasons:
            return False
        if self.in_doubt is not None and letter.in_doubt != self.in_doubt:
            return False
        if self.message_ids.isdisjoint(letter.message_ids) and self.message_ids:
            return False
        return matches_code(letter.text("code"), self.codes)

    @property
    def reads_stories(self) -> bool:
        """Whether the index of times alone does not answer it."""
        return bool(self.reasons or self.codes or self.message_ids) or self.in_doubt is not None

    @property
    def is_open(self) -> bool:
        """Whether it lets every dead letter through."""
        return self == Filter()
