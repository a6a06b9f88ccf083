"""All dead letters: read, replay, correct, recall, purge."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from tasks.dead_letters.filter import Filter
from tasks.dead_letters.letter import Letter
from tasks.dead_letters.write import rewrite
from tasks.keys import Keys
from tasks.keyspace import accounts_with, redis_time_us
from tasks.script import Arguments, text_of
from tasks.shared import MAX_BYTES
from tasks.stored import integer, number, text

if TYPE_CHECKING:
    from redis import Redis

    from otpreport import Verification

PAGE = 500
"""Letters read in one call; more if more died in the same millisecond."""

BYTES = 1_000_000
"""Bytes of letters read in one call, and one letter at least."""

BATCH = 200
"""Letters moved in one atomic call."""


@dataclass(frozen=True, slots=True)
class ReplayPace:
    """How fast an account's letters are sent again: at most this share of its rate group's effective rate."""

    share: float
    group: str
    limit: float


@dataclass(frozen=True, slots=True)
class Replay:
    """What of an account waits to be sent again, and how fast it may go; no pace where it is unknown."""

    account: str
    waiting: int
    pace: ReplayPace | None


@dataclass(frozen=True, slots=True)
class _Row:
    """A letter in the index: when it died, and whether it waits to be sent again."""

    id: str
    died_ms: int
    waits: bool


class DeadLetters:
    """The dead letters of every account, including accounts that are no longer configured.

    Reads are paged by time of death: memory stays bounded, and letters that were read may be moved meanwhile. Every
    call raises `redis.RedisError` when Redis is away.
    """

    def __init__(self, client: Redis, keys: Keys, *, batch: int = BATCH) -> None:
        self._client = client
        self._keys = keys
        self._batch = batch
        self._page_script = client.register_script(text_of("dead_letters/page.lua"))
        self._read_script = client.register_script(text_of("dead_letters/letter.lua"))
        self._replay_script = client.register_script(text_of("dead_letters/replay.lua"))
        self._correct_script = client.register_script(text_of("dead_letters/correct.lua"))
        self._purge_script = client.register_script(text_of("dead_letters/purge.lua"))

    def accounts(self) -> list[str]:
        """Return the accounts that have dead letters."""
        return accounts_with(self._client, self._keys.dead_index(""))

    def now_ms(self) -> int:
        """Return Redis' time, by which letters die."""
        return redis_time_us(self._client) // 1000

    def until_now(self, wanted: Filter) -> Filter:
        """Return the filter limited to the letters of now: one that is replayed and dies again is not taken twice."""
        now = self.now_ms()
        return replace(wanted, until_ms=now if wanted.until_ms is None else min(now, wanted.until_ms))

    def find(self, id_: str) -> Letter | None:
        """Return one letter with its message; None when there is none of that id."""
        account = id_.partition(":")[0]
        died = self._client.zscore(self._keys.dead_index(account), id_)
        if died is None:
            return None
        waits = self._client.zscore(self._keys.replays(account), id_) == died
        return next(
            self._read(account, [_Row(id_, int(died) if math.isfinite(died) else 0, waits)], whole=True), None
        )

    def letters(self, wanted: Filter, *, whole: bool = False) -> Iterator[Letter]:
        """Yield the letters account by account, each oldest first; `whole`: with their messages."""
        for account in self._chosen(wanted):
            yield from self._of(account, wanted, newest=False, whole=whole)

    def newest(self, wanted: Filter) -> Iterator[Letter]:
        """Yield the letters of all accounts together, newest first."""
        streams = [self._of(account, wanted, newest=True, whole=False) for account in self._chosen(wanted)]
        return heapq.merge(*streams, key=lambda letter: -letter.died_ms)

    def count(self, wanted: Filter) -> int:
        """Return the number of letters of the filter's accounts and times; its other conditions are ignored."""
        span = _low(wanted), _high(wanted)
        indexes = [self._keys.dead_index(account) for account in self._chosen(wanted)]
        return sum(self._client.zcount(index, *span) for index in indexes)

    def replay(self, letters: Iterable[Letter], paces: Mapping[str, ReplayPace]) -> Iterator[int]:
        """Queue letters for replay, each account's at its pace; yield how many after each batch.

        They stay dead letters until a worker takes them, below live traffic and oldest first, each with a fresh
        history. The pace applies to all queued letters of the account. A letter queued twice is sent once; one
        that is gone, or died again since it was read, is skipped.
        """
        for batch in self._batches(letter for letter in letters if letter.readable and not letter.cut):
            account, pace = batch[0].account, paces[batch[0].account]
            arguments: Arguments = [repr(pace.share), pace.group, repr(pace.limit)]
            for letter in batch:
                arguments += (letter.id, letter.died_ms)
            keys = [self._keys.dead_index(account), self._keys.replays(account), self._keys.replay(account)]
            yield cast("int", self._replay_script(keys, arguments))

    def correct(
        self,
        letters: Iterable[Letter],
        events: Mapping[str, Verification],
        paces: Mapping[str, ReplayPace],
    ) -> Iterator[int]:
        """Replace the messages of letters by those of `events` (by id) and queue them for replay; yield as `replay`.

        Both in one step: a letter is never lost, and never in two places.
        """
        for batch in self._batches(letter for letter in letters if letter.readable and not letter.cut):
            account, pace = batch[0].account, paces[batch[0].account]
            arguments: Arguments = [repr(pace.share), pace.group, repr(pace.limit)]
            for letter in batch:
                arguments += (letter.id, letter.died_ms, rewrite(letter, events[letter.id]))
            keys = [self._keys.dead(account), self._keys.dead_index(account)]
            keys += [self._keys.replays(account), self._keys.replay(account)]
            yield cast("int", self._correct_script(keys, arguments))

    def recall(self, letters: Iterable[Letter]) -> Iterator[int]:
        """Cancel the replay of queued letters, which stay dead letters; yield how many after each batch."""
        for batch in self._batches(letters):
            ids = [letter.id for letter in batch]
            yield self._client.zrem(self._keys.replays(batch[0].account), *ids)

    def replays(self, accounts: Iterable[str] | None = None) -> list[Replay]:
        """Return the letters queued for replay, of these accounts or of all."""
        if accounts is None:
            accounts = accounts_with(self._client, self._keys.replays(""))
        return [self._replays_of(account) for account in sorted(accounts)]

    def purge(self, letters: Iterable[Letter]) -> Iterator[int]:
        """Delete letters and book them as purged; yield how many after each batch."""
        for batch in self._batches(letters):
            keys = [*self._places(batch[0].account), self._keys.books]
            arguments: Arguments = [batch[0].account]
            for letter in batch:
                arguments += (letter.id, letter.died_ms, letter.reason)
            yield cast("int", self._purge_script(keys, arguments))

    def _replays_of(self, account: str) -> Replay:
        waiting = self._client.zcard(self._keys.replays(account))
        fields = cast(
            "list[bytes | None]", self._client.hmget(self._keys.replay(account), ["share", "group", "limit"])
        )
        pace = _pace(*fields)
        return Replay(account, waiting, pace)

    def _places(self, account: str) -> list[str]:
        keys = self._keys
        return [keys.dead(account), keys.dead_index(account), keys.dead_reasons, keys.replays(account)]

    def _batches(self, letters: Iterable[Letter]) -> Iterator[list[Letter]]:
        batch: list[Letter] = []
        for letter in letters:
            if batch and (len(batch) == self._batch or letter.account != batch[0].account):
                yield batch
                batch = []
            batch.append(letter)
        if batch:
            yield batch

    def _chosen(self, wanted: Filter) -> list[str]:
        return sorted(wanted.accounts) if wanted.accounts else self.accounts()

    def _of(self, account: str, wanted: Filter, *, newest: bool, whole: bool) -> Iterator[Letter]:
        keys = [self._keys.dead_index(account), self._keys.replays(account)]
        start, end = (_high(wanted), _low(wanted)) if newest else (_low(wanted), _high(wanted))
        while True:
            last, *words = cast("list[bytes]", self._page_script(keys, [int(newest), start, end, PAGE]))
            rows = [
                _Row(text(words[i]), integer(words[i + 1]) or 0, words[i + 2] == b"1")
                for i in range(0, len(words), 3)
            ]
            yield from filter(wanted.matches, self._read(account, rows, whole=whole))
            if not last:
                return
            start = f"({text(last)}"

    def _read(self, account: str, rows: list[_Row], *, whole: bool) -> Iterator[Letter]:
        """Yield the letters that are still there, a bounded number of bytes with each call."""
        keys = [self._keys.dead_index(account), self._keys.dead(account)]
        while rows:
            arguments: Arguments = [int(whole), BYTES, MAX_BYTES]
            for row in rows:
                arguments += (row.id, row.died_ms)
            looked_at, *words = cast("list[bytes]", self._read_script(keys, arguments))
            found = {text(words[i]): (words[i + 1], words[i + 2]) for i in range(0, len(words), 3)}
            for row in rows[: int(looked_at)]:
                if row.id in found:
                    record, length = found[row.id]
                    yield Letter.parse(
                        account,
                        row.id,
                        row.died_ms,
                        record,
                        whole=whole,
                        waits=row.waits,
                        length=int(length),
                    )
            rows = rows[int(looked_at) :]


def _pace(share: bytes | None, group: bytes | None, limit: bytes | None) -> ReplayPace | None:
    part, rate = number(share or b""), number(limit or b"")
    return None if part is None or rate is None or not group else ReplayPace(part, text(group), rate)


def _low(wanted: Filter) -> str:
    return "-inf" if wanted.since_ms is None else str(wanted.since_ms)


def _high(wanted: Filter) -> str:
    return "+inf" if wanted.until_ms is None else str(wanted.until_ms)
