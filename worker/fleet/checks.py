"""Judge whether this Redis is fit to hold the events, and whether anything in it needs a look."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from tasks.fleet.epoch import Memory
from tasks.fleet.pulse import WorkerSeen
from tasks.fleet.snapshot import Snapshot
from tasks.keyspace import Queues, redis_time_us
from tasks.queue.fitness import FORMAT, too_new
from worker.fleet.endings import endings
from worker.fleet.notes import troubles
from worker.fleet.unserved import unserved
from worker.fleet.wording import why_not_running

if TYPE_CHECKING:
    from redis import Redis

LEAST_VERSION = 7
"""Scripts carry `#!lua flags=...`, which no older Redis reads."""

APART = 1.0
"""Seconds that Redis' clock may be away from ours."""

BY_HAND = "once that is over: `python -m worker accounts resume {}`"


APPEND = (
    "first `CONFIG SET appendonly yes`, which keeps what is there: with it in the file alone the next start is empty; "
    "then set appendonly yes and appendfsync always in the file"
)


TOO_MUCH = """#!lua flags=no-writes
local may = {}
local function ask(said, ...)
  local known, allowed = pcall(redis.acl_check_cmd, ...)
  if known and allowed then may[#may + 1] = said end
end
ask('FLUSHALL', 'FLUSHALL')
ask('SHUTDOWN', 'SHUTDOWN')
ask('CONFIG SET', 'CONFIG', 'SET', 'maxmemory', '1')
ask('GET of any key', 'GET', 'not-of-ours')
return may
"""
"""Redis' own word on what its user may do; it needs no right but to run scripts."""


class Level(enum.StrEnum):
    """How much a finding matters: `warn` needs a look, with `fail` the workers can't work."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"


STATES = {
    "recovering": (Level.NOTE, ""),
    "circuit_open": (Level.WARN, "the provider does not answer: its events wait, a probe lets it run again"),
    "refused": (Level.WARN, "fix the cause: its events wait, a probe resumes it"),
    "paused": (Level.WARN, BY_HAND),
    "shedding": (Level.WARN, BY_HAND),
    "unknown": (Level.WARN, "Redis has a state of a later version: upgrade this one"),
}
"""How much it matters that an account does not run, and what to do."""

REFUSED = (
    "look at them: `python -m worker dead stats --account {0}`; it resumes once one is taken, and "
    "`accounts resume {0} --keep-going` lets them end as dead letters"
)
"""What to do where one stopped because event after event was refused."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and what would fix it."""

    name: str
    level: Level
    text: str
    fix: str = ""


class Facts:
    """What Redis says about itself, as far as its user may ask."""

    def __init__(self, client: Redis) -> None:
        self._client: Any = client  # redis-py leaves these answers untyped
        self.info = self._info()

    def _info(self) -> dict[str, str]:
        try:
            info: dict[str, object] = self._client.info()
        except NoPermissionError:
            return {}
        return {name: str(value) for name, value in info.items()}

    def config(self, name: str) -> str | None:
        """Return a configuration value; None where Redis doesn't say (managed ones forbid CONFIG)."""
        try:
            values: dict[str, str] = self._client.config_get(name)
        except ResponseError:
            return None
        return values.get(name)


def server(facts: Facts) -> Finding:
    """Judge what kind of server answers."""
    info = facts.info
    version = info.get("redis_version", "")
    if not version:
        return Finding("server", Level.NOTE, "its version could not be checked: INFO is forbidden")
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    if int(version.partition(".")[0]) < LEAST_VERSION:
        return Finding(
            "server", Level.FAIL, f"{name} is too old", f"use Redis or Valkey {LEAST_VERSION} or newer"
        )
    if info.get("redis_mode") == "cluster":
        fix = "use one server, with Sentinel if need be: what belongs together is settled in one call"
        return Finding("server", Level.FAIL, f"{name} is a cluster", fix)
    if info.get("role") == "slave":
        return Finding("server", Level.FAIL, f"{name} is a replica", "name its primary, or use sentinel://")
    return Finding("server", Level.OK, name)


def clock(client: Redis) -> Finding:
    """Compare the clocks: a provider refuses requests signed with a wrong time."""
    asked = time.time()
    theirs = redis_time_us(client) / 1e6
    answered = time.time()
    apart, doubt = theirs - (asked + answered) / 2, (answered - asked) / 2
    if abs(apart) - doubt > APART:
        direction = "ahead of" if apart > 0 else "behind"
        text = f"Redis is {abs(apart):.1f} s {direction} this machine"
        return Finding("clock", Level.WARN, text, "let NTP set both clocks")
    return Finding("clock", Level.OK, f"within {max(abs(apart), doubt) * 1000:.0f} ms of Redis'")


def clocks(workers: Iterable[WorkerSeen], now_ms: int) -> Iterator[Finding]:
    """Yield the living workers whose clocks are far from Redis': what they sign and their letters' times are wrong."""
    for worker in workers:
        if worker.alive(now_ms) and worker.clock_off:
            yield Finding("clock", Level.WARN, worker.clock_off, "let NTP set both clocks")


def deployments(differ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the accounts for which living workers have different settings."""
    for account, how in differ.items():
        fix = "end the roll-out, or give each deployment a Redis or a KEY_PREFIX of its own"
        yield Finding("settings", Level.WARN, f"living workers differ in {account}: {how}", fix)


def access(stranger: Redis, *, matters: Level) -> Finding:
    """Judge whether anybody who reaches Redis gets in; `stranger` is a client without a name and a password."""
    untyped: Any = stranger
    try:
        untyped.ping()
    except (AuthenticationError, ResponseError):
        return Finding("access", Level.OK, "nobody gets in without a password")
    return Finding(
        "access", matters, "anybody gets in without a password", "`ACL SETUSER default off`, docs/scaling.md"
    )


def rights(client: Redis, *, matters: Level) -> Finding:
    """Judge whether our own user may do what nothing here ever asks for."""
    may = cast("list[bytes]", client.eval(TOO_MUCH, 0))
    if not may:
        return Finding("rights", Level.OK, "its user may not do everything")
    text = f"its user may do what nothing here needs: {', '.join(word.decode() for word in may)}"
    return Finding("rights", matters, text, "give each program a user of its own: docs/scaling.md, Rights")


def durability(facts: Facts) -> Finding:
    """Judge what a restart or a crash of Redis would cost."""
    aof = facts.info.get("aof_enabled")
    if aof is None:
        return Finding("durability", Level.NOTE, "could not be checked: INFO is forbidden")
    if aof != "1":
        text = "the append-only file is off: a restart loses events"
        return Finding("durability", Level.WARN, text, APPEND)
    match facts.config("appendfsync"):
        case "always":
            return Finding("durability", Level.OK, "append-only file, synced at once")
        case "everysec":
            text = "append-only file, synced every second: a dying host may lose its last second"
            return Finding("durability", Level.NOTE, text, "set appendfsync always")
        case None:
            text = "append-only file; how often it is synced could not be checked: CONFIG GET is forbidden"
            return Finding("durability", Level.NOTE, text)
        case other:
            text = f"append-only file with appendfsync {other}: a dying host may lose half a minute"
            return Finding("durability", Level.WARN, text, "set appendfsync always")


def eviction(facts: Facts) -> Finding:
    """Judge whether Redis may throw events away when it is full."""
    policy = facts.info.get("maxmemory_policy")
    if policy is None:
        return Finding("eviction", Level.NOTE, "could not be checked: INFO is forbidden")
    if policy == "noeviction":
        return Finding("eviction", Level.OK, "none: a full Redis refuses, it drops nothing")
    now = "" if facts.info.get("maxmemory", "0") != "0" else ", once maxmemory is set"
    text = f"maxmemory-policy is {policy}: a full Redis throws events away{now}"
    return Finding("eviction", Level.WARN, text, "set maxmemory-policy noeviction")


def memory(remembered: Memory, now_ms: int) -> Finding:
    """Judge whether Redis came back empty, or older than it was, and whether this version can read it."""
    if remembered.format > FORMAT:
        return Finding("memory", Level.FAIL, str(too_new(remembered.format)))
    loss = remembered.loss
    if loss is None or not loss.recent(now_ms):
        return Finding("memory", Level.OK, "no worker has found that Redis lost what it held")
    fix = "look at `audit` and `accounts list`, and pause or slow down again what has to be"
    return Finding("memory", Level.WARN, loss.text, fix)


def faults(found: Iterable[str]) -> Iterator[Finding]:
    """Judge what keeps events from being moved."""
    for fault in found:
        fix = "see `redis refuses` and `redis key unusable` in docs/operations.md: once fixed, all goes on"
        yield Finding("faults", Level.WARN, fault, fix)


def events(snapshot: Snapshot, queues: Queues) -> Iterator[Finding]:
    """Judge what is in Redis: accounts that stopped, queues that nobody serves, books that do not balance."""
    for account in snapshot.configured:
        if account.state.name != "running":
            level, fix = STATES[account.state.name]
            fix = REFUSED if account.state.refused else fix
            yield Finding("accounts", level, why_not_running(account), fix.format(account.name))
        if by := account.state.keep_going:
            text = f"{account.name} goes on however many events are refused, by {by}"
            yield Finding(
                "accounts",
                Level.NOTE,
                text,
                f"once that is over: `python -m worker accounts resume {account.name}`",
            )
    for account in snapshot.accounts:
        for text in endings(account):
            fix = "replay, or export, what is worth it: `python -m worker dead stats --account {}`"
            yield Finding("dead letters", Level.WARN, text, fix.format(account.name))
    yield from _queues(unserved(snapshot, queues))
    yield _books(snapshot)
    yield _workers(snapshot)


def workers(seen: Iterable[WorkerSeen], now_ms: int) -> Iterator[Finding]:
    """Judge what the living workers say of themselves."""
    for worker in seen:
        if worker.alive(now_ms):
            for text in troubles(worker):
                yield Finding("workers", Level.WARN, text, "look at that machine: network, names, open files")


def _queues(queues: Queues) -> Iterator[Finding]:
    fix = "configure the account, or correct it where events are sent"
    for name, waiting in queues.named.items():
        yield Finding("queues", Level.WARN, f"nobody serves {name}, where {waiting} wait", fix)
    if queues.more:
        text = f"and {queues.more} more queues that nobody serves, where {queues.more_events} wait"
        yield Finding("queues", Level.WARN, text, fix)
    if not queues.complete:
        yield Finding("queues", Level.NOTE, "too many keys to look at all of them: there may be more queues")


def _books(snapshot: Snapshot) -> Finding:
    taken = sum(account.booked.get("taken", 0) for account in snapshot.accounts)
    if snapshot.gap:
        text = f"{snapshot.gap} of {taken} events taken stand nowhere, or twice"
        return Finding("books", Level.WARN, text, "was Redis restored, emptied, or restarted without AOF?")
    dead = sum(account.dead for account in snapshot.accounts)
    letters = f", {dead} of them dead letters" if dead else ""
    return Finding("books", Level.OK, f"balanced: {taken} events taken{letters}")


def _workers(snapshot: Snapshot) -> Finding:
    waiting = sum(account.waiting for account in snapshot.configured)
    if snapshot.workers:
        return Finding("workers", Level.OK, f"{snapshot.workers} alive, {waiting} events wait")
    text = f"none alive, {waiting} events wait"
    return Finding("workers", Level.NOTE, text, "start `python -m worker run`")


def worst(findings: Iterable[Finding]) -> Level:
    """Return the level that decides."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
