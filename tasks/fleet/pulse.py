"""The workers and what went wrong of late: what people look at besides the counts of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import orjson

from tasks.fleet.deployment import Deployment, differences
from tasks.fleet.epoch import Memory
from tasks.keys import Keys
from tasks.script import text_of
from tasks.stored import integer, number, text
from tasks.wall import FAR_APART

if TYPE_CHECKING:
    from redis import Redis

MOST_WORKERS = 500
"""Workers that are read at most, those with the longest leases."""

SILENT = 5.0
"""Seconds without a heartbeat after which a live worker may be none."""


@dataclass(frozen=True, slots=True)
class ErrorSeen:
    """The last failed attempt of an account: when, what class of answer, the provider's code and message."""

    at_ms: int
    result: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class AccountPulse:
    """What an account suffered of late; the dead are those that are dead letters still."""

    dead_last_minute: int = 0
    dead_last_hour: int = 0
    probe_at_ms: int | None = None
    last_error: ErrorSeen | None = None


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker: what Redis knows about it, then what it announced, None or empty where it did not."""

    worker: str
    lease_end_ms: int
    held: int
    seen_ms: int | None = None
    host: str = ""
    pid: int | None = None
    in_flight: int | None = None
    concurrency: int | None = None
    started_ms: int | None = None
    redis_ahead: int | None = None
    """Seconds by which Redis' clock is ahead of the worker's."""
    wanted: int | None = None
    """The concurrency of its settings, where fewer requests fit under its limit of open files."""
    aside: Mapping[str, str] = field(default_factory=dict[str, str])
    """The accounts that it set aside, because it can't reach their providers, with the last reason."""
    serves: tuple[str, ...] | None = None
    """The accounts whose events it takes; None where it did not say, as workers of earlier versions do not."""
    version: str = ""

    @property
    def clock_off(self) -> str:
        """Say by how much its clock is off, seen from Redis; nothing where that is not worth a word."""
        apart = self.redis_ahead or 0
        if abs(apart) <= FAR_APART:
            return ""
        how = "behind" if apart > 0 else "ahead of"
        return f"the clock of worker {self.worker} on {self.host} is {abs(apart)} s {how} Redis'"

    def alive(self, now_ms: int) -> bool:
        """Whether its lease runs; what a worker held whose lease ran out is taken back by the others."""
        return self.lease_end_ms > now_ms

    def silence(self, now_ms: int) -> float:
        """Return the seconds since the last heartbeat of a live worker; 0 where that is not worth a word."""
        seconds = (now_ms - self.seen_ms) / 1000 if self.seen_ms is not None else 0.0
        return seconds if self.alive(now_ms) and seconds > SILENT else 0.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """The workers, by host and name; the pulses of the accounts; the state of Redis' data; differences of settings."""

    workers: tuple[WorkerSeen, ...] = ()
    accounts: Mapping[str, AccountPulse] | None = None
    memory: Memory = Memory()  # noqa: RUF009 - frozen
    differences: Mapping[str, str] = field(default_factory=dict[str, str])
    faults: tuple[str, ...] = ()
    """Keys that can't be used, each with the reason."""

    def of(self, account: str) -> AccountPulse:
        """Return an account's pulse; an empty one if it was not read."""
        return (self.accounts or {}).get(account, AccountPulse())


class PulseReader:
    """Read everything in one call."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._script = client.register_script(text_of("fleet/pulse.lua"))
        self._prefix = keys.prefix

    def read(self, accounts: Sequence[str]) -> Pulse:
        """Return the pulse as it is now; redis.RedisError when Redis is away."""
        reply = self._script([], [self._prefix, MOST_WORKERS, *accounts])
        workers, rows, memory, deployments, faults = cast(
            "tuple[list[list[bytes]], list[list[object]], list[bytes], list[list[bytes]], list[bytes]]", reply
        )
        seen = sorted((_worker(row) for row in workers), key=lambda worker: (worker.host, worker.worker))
        pulses = (_pulse(row) for row in rows)
        remembered = Memory.of(*(text(field) for field in memory))
        settings_differences = differences(Deployment.decode(each) for each in deployments)
        unusable = tuple(text(fault) for fault in faults)
        return Pulse(
            tuple(seen), dict(zip(accounts, pulses, strict=True)), remembered, settings_differences, unusable
        )


def _worker(row: Sequence[object]) -> WorkerSeen:
    worker, lease_end, held, seen, note = row
    note_fields = _note(cast("bytes", note))
    host, version = note_fields.get("host"), note_fields.get("version")
    return WorkerSeen(
        worker=text(worker),
        lease_end_ms=int(number(cast("bytes", lease_end)) or 0),
        held=cast("int", held),
        seen_ms=integer(cast("bytes", seen)),
        host=host if isinstance(host, str) else "",
        pid=_count(note_fields, "pid"),
        in_flight=_count(note_fields, "in_flight"),
        concurrency=_count(note_fields, "concurrency"),
        wanted=_count(note_fields, "wanted"),
        aside=_texts(note_fields, "aside"),
        serves=_names(note_fields, "serves"),
        version=version if isinstance(version, str) else "",
        started_ms=_count(note_fields, "started_ms"),
        redis_ahead=_count(note_fields, "redis_ahead"),
    )


def _pulse(row: Sequence[object]) -> AccountPulse:
    minute, hour, probe, error = row
    at, result, code, message = cast("list[bytes]", error)
    return AccountPulse(
        cast("int", minute),
        cast("int", hour),
        integer(cast("bytes", probe)),
        None if (at_ms := integer(at)) is None else ErrorSeen(at_ms, text(result), text(code), text(message)),
    )


def _note(raw: bytes) -> Mapping[str, object]:
    """Return what a worker announced; empty if it can't be read."""
    try:
        note = orjson.loads(raw)
    except ValueError:
        return {}
    return cast("dict[str, object]", note) if isinstance(note, dict) else {}


def _count(note: Mapping[str, object], field: str) -> int | None:
    value = note.get(field)
    return value if isinstance(value, int) else None


def _texts(note: Mapping[str, object], field_: str) -> Mapping[str, str]:
    value = note.get(field_)
    if not isinstance(value, dict):
        return {}
    return {name: str(text) for name, text in cast("dict[str, object]", value).items()}


def _names(note: Mapping[str, object], field_: str) -> tuple[str, ...] | None:
    value = note.get(field_)
    return tuple(map(str, cast("list[object]", value))) if isinstance(value, list) else None
