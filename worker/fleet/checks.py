"""Check whether this Redis is suitable, and whether anything in it needs attention."""

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
from worker.fleet.notes import silence, troubles
from worker.fleet.rates import Rated, lowered
from worker.fleet.unserved import serves, unserved
from worker.fleet.wording import count, waiting, why_not_running

if TYPE_CHECKING:
    from redis import Redis

LEAST_VERSION = 7
"""Scripts carry `#!lua flags=...`, which no older Redis reads."""

CLOCK_TOLERANCE = 1.0
"""Seconds that Redis' clock may differ from ours."""

FULL = 0.8
"""Share of `maxmemory` from which that is told, as by OtpreportRedisMemoryHigh."""

RESUME = "when that is over: `otpreport accounts resume {}`"


APPEND = (
    "first `CONFIG SET appendonly yes`, which keeps the data: set only in the file, the next start would be empty; "
    "then set appendonly yes and appendfsync always in the file"
)


RIGHTS_SCRIPT = """#!lua flags=no-writes
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
"""Ask Redis what its user may do; needs only the right to run scripts."""


class Level(enum.StrEnum):
    """How much a finding matters: `warn` needs attention, with `fail` the workers can't run."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"


STATES = {
    "recovering": (Level.NOTE, ""),
    "circuit_open": (
        Level.WARN,
        "the provider does not answer: events wait, and a probe resumes the account",
    ),
    "refused": (Level.WARN, "fix the cause: events wait, and a probe resumes the account"),
    "paused": (Level.WARN, RESUME),
    "shedding": (Level.WARN, RESUME),
    "unknown": (Level.WARN, "the state is from a later version: upgrade this one"),
}
"""Severity of each state, and what to do."""

REFUSED = (
    "inspect them: `otpreport dead stats --account {0}`; it resumes once one is accepted; "
    "`accounts resume {0} --keep-going` turns them into dead letters"
)
"""What to do after a run of refused events."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, and the fix."""

    name: str
    level: Level
    text: str
    fix: str = ""


class Facts:
    """What Redis reports about itself, within its user's rights."""

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
    """Check the kind of server."""
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
        fix = "use a single server, with Sentinel if needed: scripts touch several keys at once"
        return Finding("server", Level.FAIL, f"{name} is a cluster", fix)
    if info.get("role") == "slave":
        return Finding("server", Level.FAIL, f"{name} is a replica", "use its primary, or sentinel://")
    return Finding("server", Level.OK, name)


def clock(client: Redis) -> Finding:
    """Compare the clocks: providers refuse requests signed with a wrong time."""
    asked = time.time()
    theirs = redis_time_us(client) / 1e6
    answered = time.time()
    apart, doubt = theirs - (asked + answered) / 2, (answered - asked) / 2
    if abs(apart) - doubt > CLOCK_TOLERANCE:
        direction = "ahead of" if apart > 0 else "behind"
        text = f"Redis is {abs(apart):.1f} s {direction} this machine"
        return Finding("clock", Level.WARN, text, "let NTP set both clocks")
    return Finding("clock", Level.OK, f"within {max(abs(apart), doubt) * 1000:.0f} ms of Redis'")


def clocks(workers: Iterable[WorkerSeen], now_ms: int) -> Iterator[Finding]:
    """Yield the live workers whose clocks differ from Redis': their signatures and dead letter times are wrong."""
    for worker in workers:
        if worker.alive(now_ms) and worker.clock_off:
            yield Finding("clock", Level.WARN, worker.clock_off, "let NTP set both clocks")


def deployments(differences: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the accounts for which live workers have different settings."""
    for account, how in differences.items():
        fix = "finish the rollout, or give each deployment its own Redis or KEY_PREFIX"
        yield Finding("settings", Level.WARN, f"live workers differ in {account}: {how}", fix)


def access(anonymous: Redis, *, matters: Level) -> Finding:
    """Check whether Redis asks for a password; `anonymous` is a client without user and password."""
    untyped: Any = anonymous
    try:
        untyped.ping()
    except (AuthenticationError, ResponseError):
        return Finding("access", Level.OK, "a password is required")
    return Finding("access", matters, "no password is required", "`ACL SETUSER default off`, docs/scaling.md")


def rights(client: Redis, *, matters: Level) -> Finding:
    """Check whether our own user has rights that are never needed."""
    may = cast("list[bytes]", client.eval(RIGHTS_SCRIPT, 0))
    if not may:
        return Finding("rights", Level.OK, "its user has no more than it needs")
    text = f"its user has rights that are never needed: {', '.join(word.decode() for word in may)}"
    return Finding("rights", matters, text, "give each program its own user: docs/scaling.md, Rights")


def durability(facts: Facts) -> Finding:
    """Check what a restart or crash of Redis would lose."""
    aof = facts.info.get("aof_enabled")
    if aof is None:
        return Finding("durability", Level.NOTE, "could not be checked: INFO is forbidden")
    if aof != "1":
        text = "the append-only file is off: a restart loses events"
        return Finding("durability", Level.WARN, text, APPEND)
    match facts.config("appendfsync"):
        case "always":
            return Finding("durability", Level.OK, "append-only file, synced on every write")
        case "everysec":
            text = "append-only file, synced every second: a host crash may lose the last second"
            return Finding("durability", Level.NOTE, text, "set appendfsync always")
        case None:
            text = "append-only file; appendfsync could not be checked: CONFIG GET is forbidden"
            return Finding("durability", Level.NOTE, text)
        case other:
            text = f"append-only file with appendfsync {other}: a host crash may lose half a minute"
            return Finding("durability", Level.WARN, text, "set appendfsync always")


def eviction(facts: Facts) -> Finding:
    """Check whether a full Redis would evict events."""
    policy = facts.info.get("maxmemory_policy")
    if policy is None:
        return Finding("eviction", Level.NOTE, "could not be checked: INFO is forbidden")
    if policy == "noeviction":
        return Finding("eviction", Level.OK, "none: a full Redis refuses writes and keeps events")
    now = "" if facts.info.get("maxmemory", "0") != "0" else ", once maxmemory is set"
    text = f"maxmemory-policy is {policy}: a full Redis evicts events{now}"
    return Finding("eviction", Level.WARN, text, "set maxmemory-policy noeviction")


def room(facts: Facts) -> Iterator[Finding]:
    """Yield how full Redis is, from where OtpreportRedisMemoryHigh fires."""
    used, most = int(facts.info.get("used_memory", "0")), int(facts.info.get("maxmemory", "0"))
    if most and used > FULL * most:
        text = f"{used / most:.0%} of maxmemory is used: a full Redis refuses new events, and web apps spool them"
        fix = "find what grows, or raise maxmemory: OtpreportRedisMemoryHigh in docs/operations.md"
        yield Finding("room", Level.WARN, text, fix)


def memory(remembered: Memory, now_ms: int) -> Finding:
    """Check whether Redis came back empty or with older data, and whether this version can read it."""
    if remembered.format > FORMAT:
        return Finding("memory", Level.FAIL, str(too_new(remembered.format)))
    loss = remembered.loss
    if loss is None or not loss.recent(now_ms):
        return Finding("memory", Level.OK, "no data loss detected")
    fix = "compare `audit` with `accounts list`; repeat pauses and rate limits that are gone"
    return Finding("memory", Level.WARN, loss.text, fix)


def faults(found: Iterable[str]) -> Iterator[Finding]:
    """Report what blocks events."""
    for fault in found:
        fix = "see `redis refuses` and `redis key unusable` in docs/operations.md; work resumes once it is fixed"
        yield Finding("faults", Level.WARN, fault, fix)


def events(snapshot: Snapshot, queues: Queues) -> Iterator[Finding]:
    """Check the data in Redis: accounts not running, unserved queues, books that do not balance."""
    for account in snapshot.configured:
        if account.state.name != "running":
            level, fix = STATES[account.state.name]
            fix = REFUSED if account.state.refused else fix
            yield Finding("accounts", level, why_not_running(account), fix.format(account.name))
        if by := account.state.keep_going:
            text = f"{account.name} keeps going despite refused events, by {by}"
            yield Finding(
                "accounts",
                Level.NOTE,
                text,
                f"when that is over: `otpreport accounts resume {account.name}`",
            )
    for account in snapshot.accounts:
        for text in endings(account):
            fix = "replay or export what you need: `otpreport dead stats --account {}`"
            yield Finding("dead letters", Level.WARN, text, fix.format(account.name))
    yield from _queues(unserved(snapshot, queues))
    yield _books(snapshot)
    yield _workers(snapshot)


def rates(accounts: Iterable[Rated]) -> Iterator[Finding]:
    """Report rates that are lower than the settings say, and why."""
    for low in lowered(accounts):
        if low.in_flight:
            fix = "raise MAX_IN_FLIGHT if the provider allows more: docs/scaling.md"
            yield Finding("rates", Level.NOTE, low.text, fix)
        elif low.by_operator:
            fix = f"when that is over: `otpreport accounts rate {low.account} default`"
            yield Finding("rates", Level.NOTE, low.text, fix)
        else:
            fix = "find what else uses this main account: docs/operations.md, OtpreportRateLowered"
            yield Finding("rates", Level.WARN if low.serious else Level.NOTE, low.text, fix)


def unattended(snapshot: Snapshot, seen: Iterable[WorkerSeen]) -> Iterator[Finding]:
    """Report configured accounts that no live worker serves."""
    served = serves(seen, snapshot.now_us // 1000)
    for account in snapshot.configured:
        if not served(account.name):
            text = f"no live worker serves {account.name}: {waiting(account.waiting)}"
            fix = "start a worker with this account: without --accounts (or -Q) it serves all"
            yield Finding("workers", Level.WARN, text, fix)


def workers(seen: Iterable[WorkerSeen], now_ms: int) -> Iterator[Finding]:
    """Check what the live workers report."""
    for worker in seen:
        for text in silence(worker, now_ms):
            yield Finding("workers", Level.WARN, text, "look whether it runs, and reaches Redis")
        if worker.alive(now_ms):
            for text in troubles(worker):
                yield Finding(
                    "workers", Level.WARN, text, "check that machine: network, DNS, open-files limit"
                )


def _queues(queues: Queues) -> Iterator[Finding]:
    fix = "configure the account, or correct its name in the sender and drop these: accounts purge NAME --unserved"
    for name, events in queues.named.items():
        yield Finding("queues", Level.WARN, f"no worker serves {name}: {waiting(events)}", fix)
    if queues.more:
        text = f"{count(queues.more, 'more queue')} without a worker: {waiting(queues.more_events)}"
        yield Finding("queues", Level.WARN, text, fix)
    if not queues.complete:
        yield Finding("queues", Level.NOTE, "too many keys to scan: there may be more queues")


def _books(snapshot: Snapshot) -> Finding:
    taken = sum(account.booked.get("taken", 0) for account in snapshot.accounts)
    fix = "was Redis restored, flushed, or restarted without AOF?"
    if snapshot.gap:
        text = f"{snapshot.gap} of {taken} events are unaccounted for, or counted twice"
        return Finding("books", Level.WARN, text, fix)
    if snapshot.otps_gap:
        text = f"{snapshot.otps_gap} OTPs are unaccounted for, or counted twice"
        return Finding("books", Level.WARN, text, fix)
    dead = sum(account.dead for account in snapshot.accounts)
    letters = f", {dead} of them dead letters" if dead else ""
    return Finding("books", Level.OK, f"balanced: {taken} events taken{letters}")


def _workers(snapshot: Snapshot) -> Finding:
    backlog = waiting(sum(account.waiting for account in snapshot.configured))
    if snapshot.workers:
        return Finding("workers", Level.OK, f"{snapshot.workers} alive, {backlog}")
    text = f"none alive, {backlog}"
    return Finding("workers", Level.NOTE, text, "start `otpreport run`")


def worst(findings: Iterable[Finding]) -> Level:
    """Return the level that decides."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
