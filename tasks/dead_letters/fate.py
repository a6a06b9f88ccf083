"""What became of dead letters that were queued for replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from tasks.dead_letters.letter import Letter
from tasks.dedupe import Fingerprint
from tasks.keys import Keys
from tasks.memory import DeliveredMemory
from tasks.script import Arguments, text_of

if TYPE_CHECKING:
    from redis import Redis

BATCH = 200
"""Letters looked at in one call."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A letter that was queued, as small as it can be; no fingerprint where its event could not be read."""

    account: str
    id: str
    died_ms: int
    fingerprint: Fingerprint | None
    verified: bool

    @classmethod
    def of(cls, letter: Letter) -> Queued:
        """Return what is needed of a letter."""
        known = Fingerprint.of(letter.account, letter.message_id) if letter.event else None
        return cls(
            letter.account, letter.id, letter.died_ms, known, letter.event.get("verified") is not False
        )


@dataclass(slots=True)
class Fates:
    """How many ended, and how; `under_way` are those that have not: queued, leased, or waiting for a retry."""

    under_way: list[Queued] = field(default_factory=list[Queued])
    ended: Counter[str] = field(default_factory=Counter[str])
    """By `delivered`, `dead_again`, `recalled`, `otherwise`: skipped, purged, or delivered too long ago to be known."""

    def note(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """Yield the letters and remember that they are under way."""
        for letter in letters:
            self.under_way.append(Queued.of(letter))
            yield letter

    @property
    def all_delivered(self) -> bool:
        """Whether nothing else became of any."""
        return not self.under_way and self.ended.total() == self.ended["delivered"]

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        words = ("delivered", "dead_again", "recalled", "otherwise")
        return {word: self.ended[word] for word in words} | {"under_way": len(self.under_way)}


class FateReader:
    """Looks at letters that are under way; every call raises `redis.RedisError` when Redis is away."""

    def __init__(self, client: Redis, keys: Keys, memory: DeliveredMemory) -> None:
        self._keys = keys
        self._memory = memory
        self._script = client.register_script(text_of("dead_letters/fate.lua"))

    def look(self, fates: Fates) -> None:
        """Bring `fates` up to date; not at all if Redis is away."""
        by_account: dict[str, list[Queued]] = {}
        for one in fates.under_way:
            by_account.setdefault(one.account, []).append(one)
        left, ended = list[Queued](), Counter[str]()
        for account, queued in by_account.items():
            for start in range(0, len(queued), BATCH):
                for one, word in self._fates(account, queued[start : start + BATCH]):
                    if word == "under_way":
                        left.append(one)
                    else:
                        ended[word] += 1
        fates.under_way = left
        fates.ended += ended

    def _fates(self, account: str, batch: list[Queued]) -> Iterator[tuple[Queued, str]]:
        keys = [self._keys.dead_index(account), self._keys.replays(account), self._keys.taken(account)]
        arguments: Arguments = []
        for one in batch:
            arguments += (one.id, one.died_ms)
        words = [word.decode() for word in cast("list[bytes]", self._script(keys, arguments))]
        gone = [
            (one.fingerprint, one.verified)
            for one, word in zip(batch, words, strict=True)
            if word == "gone" and one.fingerprint
        ]
        known = iter(self._memory.known(gone))
        for one, word in zip(batch, words, strict=True):
            if word == "gone":
                yield one, "delivered" if one.fingerprint and next(known) else "otherwise"
            else:
                yield one, word
