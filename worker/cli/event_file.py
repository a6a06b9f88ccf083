"""Events in a file, one a line: JSON, or CSV with the fields' names in its first line."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

import orjson

from config.faults import nearest
from otpreport import Verification, foreign
from otpreport.errors import OtpreportError

FIELDS = tuple(field.name for field in dataclasses.fields(Verification))
LONGEST_LINE = 65_536
"""Bytes: an event has a few hundred, and a file that is no text may be one line."""

_FIRST_LINE = "the first line names the columns, with commas between them"
_TIMES = ("occurred_at", "sent_at")
_DIGITS = 16
"""Of a time in milliseconds, some more than any has."""
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class UnreadableError(OtpreportError):
    """The file can't be read further than the line it names."""


@dataclass(frozen=True, slots=True)
class Row:
    """One event of the file, or what is wrong with it, and the number of its last line."""

    line: int
    event: Verification | None
    fault: str = ""


class EventFile:
    """Read a file from its beginning, line by line; it takes no more memory than a line.

    `line` and `digest()` tell what was read so far: how many lines, and a SHA-256 of them.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._file = file
        self._digest = hashlib.sha256()
        self.line = 0

    def digest(self) -> str:
        """Return a SHA-256 of the lines read so far."""
        return self._digest.hexdigest()

    def rows(self) -> Iterator[Row]:
        """Yield the events in their order, empty lines left out; UnreadableError where that can't go on."""
        lines = self._lines()
        first = next((line for line in lines if line.strip()), "")
        if first.lstrip().startswith("{"):
            yield self._json(first)
            yield from (self._json(line) for line in lines if line.strip())
        elif first:
            yield from self._csv(first, lines)

    def _lines(self) -> Iterator[str]:
        while raw := self._file.readline(LONGEST_LINE + 1):
            self.line += 1
            if len(raw) > LONGEST_LINE:
                raise UnreadableError(f"line {self.line}: is longer than {LONGEST_LINE:,} bytes")
            self._digest.update(raw.rstrip(b"\r\n") + b"\n")  # the last line may get its end later
            try:
                yield raw.decode("utf-8-sig" if self.line == 1 else "utf-8")
            except UnicodeDecodeError:
                raise UnreadableError(f"line {self.line}: is not UTF-8") from None

    def _json(self, line: str) -> Row:
        try:
            data: object = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return Row(self.line, None, f"is not JSON: {error.msg}")
        if not isinstance(data, dict):
            return Row(self.line, None, "is not a JSON object")
        return self._row(cast("dict[str, object]", data))

    def _csv(self, first: str, lines: Iterator[str]) -> Iterator[Row]:
        reader = csv.reader(_chain(first, lines), strict=True)
        try:
            names = [name.strip() for name in next(reader)]
            _check_header(names, self.line)
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(names):
                    yield Row(self.line, None, f"has {len(cells)} cells, the first line has {len(names)}")
                else:
                    filled = {
                        name: cell.strip() for name, cell in zip(names, cells, strict=True) if cell.strip()
                    }
                    yield self._row(filled)
        except csv.Error as error:
            raise UnreadableError(f"line {self.line}: is not CSV: {error}") from None

    def _row(self, data: Mapping[str, object]) -> Row:
        try:
            event = Verification.from_wire(fields_of(data))
        except ValueError as error:
            return Row(self.line, None, str(error))
        return Row(self.line, event)


def fields_of(data: Mapping[str, object]) -> dict[str, object]:
    """Return the fields as an event takes them; ValueError for one that an event has not."""
    for name in data:
        if name not in FIELDS:
            raise ValueError(_unknown(name))
    return {name: _value(name, value) for name, value in data.items()}


def _chain(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _check_header(names: list[str], line: int) -> None:
    for name in names:
        if name not in FIELDS:
            raise UnreadableError(f"line {line}: {_unknown(name)} ({_FIRST_LINE})")
    for name in ("account", "message_id", "occurred_at"):
        if name not in names:
            raise UnreadableError(f"line {line}: the column {name} is missing ({_FIRST_LINE})")
    if len(set(names)) < len(names):
        raise UnreadableError(f"line {line}: a column is named twice")


def _unknown(name: str) -> str:
    near = nearest(name, FIELDS)
    meant = f"did you mean {near}?" if near else f"known are {', '.join(FIELDS)}"
    return f"{name[:40]!r} is not a field of an event: {meant}"


def _value(name: str, value: object) -> object:
    """Return what an event takes: times as producers write them, and CSV has only text."""
    if name in _TIMES:
        return _time(name, value)
    if name == "verified" and isinstance(value, str):
        return _FLAGS.get(value.lower(), value)
    return value


def _time(name: str, value: object) -> object:
    if isinstance(value, str) and value.isdecimal():
        return int(value.lstrip("0")[:_DIGITS] or "0")  # Python refuses to read thousands
    if isinstance(value, str | float):
        try:
            return foreign.read(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if type(value) is int or (value is None and name == "sent_at"):
        return value
    raise ValueError(f"{name}: must be UNIX milliseconds, or text like 2026-05-01T12:00:00Z")
