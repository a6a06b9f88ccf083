"""Every arrival, in the order in which it came."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from simulator.judge import SecondJudge

SIGNED, VERIFIED, TAKEN, ANSWERED = 1, 2, 4, 8


class Book:
    """The figures of one key: arrivals by message id, what was taken how often, codes, busiest seconds."""

    def __init__(self, provider: str, key: str, offset: float) -> None:
        self.provider = provider
        self.key = key
        self.count = 0
        self.ids: dict[str, int] = {}  # message id -> arrivals
        self.taken: tuple[dict[str, int], dict[str, int]] = ({}, {})  # [verified]: message id -> times
        self.twice: dict[tuple[str, bool], int] = {}  # (message id, verified) -> times, from 2 on
        self.false_after_true = 0
        self._both = 0  # ids taken with either outcome
        self.codes: dict[str, int] = {}
        self.judge = SecondJudge(offset)

    def arrive(self, message_id: str, when: float) -> int:
        """Count an arrival; return how many of this id there have been."""
        self.count += 1
        self.judge.arrive(when)
        arrivals = self.ids.get(message_id, 0) + 1
        self.ids[message_id] = arrivals
        return arrivals

    def answer(self, code: str) -> None:
        """Count what was answered."""
        self.codes[code] = self.codes.get(code, 0) + 1

    def take(self, message_id: str, *, verified: bool) -> None:
        """Count a report as taken."""
        taken = self.taken[verified]
        times = taken.get(message_id, 0) + 1
        taken[message_id] = times
        if times > 1:
            self.twice[message_id, verified] = times
        elif message_id in self.taken[not verified]:
            self._both += 1
        if not verified and message_id in self.taken[True]:
            self.false_after_true += 1

    @property
    def takings(self) -> int:
        """How many reports were taken, each repetition counted."""
        reports = len(self.taken[False]) + len(self.taken[True])
        return reports + sum(self.twice.values()) - len(self.twice)

    @property
    def taken_count(self) -> int:
        """Of how many ids a report was taken."""
        return len(self.taken[False]) + len(self.taken[True]) - self._both

    def taken_ids(self) -> set[str]:
        """Return the ids of which a report was taken."""
        return self.taken[False].keys() | self.taken[True].keys()


class Ledger:
    """Columns rather than objects: about 0.2 KB an arrival, all in."""

    def __init__(self, offset: float) -> None:
        self.books: list[Book] = []
        self.answered_takings = 0  # reports taken whose answer was written
        self._offset = offset
        self._index: dict[tuple[str, str], int] = {}
        self._code_names: list[str] = []
        self._code_index: dict[str, int] = {}
        self._times = array("d")
        self._book_column = array("H")
        self._code_column = array("H")
        self._flags = array("B")
        self._connections = array("L")
        self._ids: list[str] = []

    def __len__(self) -> int:
        return len(self._ids)

    def book(self, provider: str, key: str) -> Book:
        """Return the book of a key, opened where there is none yet."""
        index = self._index.get((provider, key))
        if index is None:
            index = self._index[provider, key] = len(self.books)
            self.books.append(Book(provider, key, self._offset))
        return self.books[index]

    def add(self, book: Book, when: float, message_id: str, *, code: str, flags: int, connection: int) -> int:
        """Write an arrival down; return its row."""
        self._times.append(when)
        self._book_column.append(self._index[book.provider, book.key])
        self._code_column.append(self._code(code))
        self._flags.append(flags)
        self._connections.append(connection)
        self._ids.append(message_id)
        return len(self._ids) - 1

    def answered(self, row: int) -> None:
        """Note that the answer was written to an open connection."""
        self._flags[row] |= ANSWERED
        self.answered_takings += bool(self._flags[row] & TAKEN)

    def rows(self, start: int, stop: int) -> Iterator[dict[str, object]]:
        """Yield arrivals as they are shown."""
        for n in range(start, min(stop, len(self))):
            book = self.books[self._book_column[n]]
            flags = self._flags[n]
            yield {
                "n": n,
                "t": self._times[n],
                "unix": self._times[n] + self._offset,
                "provider": book.provider,
                "key": book.key,
                "message_id": self._ids[n],
                "probe": not self._ids[n],
                "verified": bool(flags & VERIFIED),
                "code": self._code_names[self._code_column[n]],
                "taken": bool(flags & TAKEN),
                "signature_ok": bool(flags & SIGNED),
                "answered": bool(flags & ANSWERED),
                "connection": self._connections[n],
            }

    def _code(self, code: str) -> int:
        index = self._code_index.get(code)
        if index is None:
            index = self._code_index[code] = len(self._code_names)
            self._code_names.append(code)
        return index
