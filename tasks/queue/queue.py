"""The queue in Redis as one worker sees it: lease, settle, recover; every step one atomic call."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from otpreport.wire import notice
from tasks.dedupe import Remembered
from tasks.delivery import Delivery, Held, Leased, LeasePurpose
from tasks.history import History
from tasks.keys import Keys
from tasks.queue.breaker import PROBE_INTERVAL, Breaker, CallBuckets, call_arguments
from tasks.retry import Reason
from tasks.script import Script, ignore
from tasks.settlement import Bury, Ending, Finish, Schedule, Settlement, Track
from tasks.stored import text

if TYPE_CHECKING:
    from redis.asyncio import Redis

RECOVERED_AT_ONCE = 200
SETTLED_AT_ONCE = 500
SETTLED_BYTES = 500_000
"""Bytes of records and letters in one settle call, but always at least one."""

LONGEST_WAIT = 300.0
"""Upper bound in seconds of the wait for another try; an `eta` may be later."""

REFUSED_RUN = 50
"""Consecutive events permanently refused by the provider after which their account stops."""

FLAGS = {ord("0"): False, ord("1"): True, ord("2"): None}
"""settle.lua's answer for each event."""


now = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Monotonic seconds that keep counting while the machine is suspended, as the other workers' clocks do."""


LONG_AT_ONCE = 4
"""Long messages that one lease call buries, at most."""

_DELIVERED, _DUPLICATE = Ending.DELIVERED, Ending.DUPLICATE  # Python 3.11 takes 80 ns to find a member
Buried = tuple[Leased, Bury]


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of a lease call: the events, how many the worker holds by Redis' books, how many suspects wait.

    `now_us` is Redis' time. `buried` became dead letters, because no worker may lease them. `more`: the call stopped at
    its limit of bytes.
    """

    leased: list[Leased]
    held: int
    suspects: int
    now_us: int
    buried: Sequence[Buried] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """The capacity of a worker: `free` more events in total, and how many it holds of each account."""

    free: int
    held: Mapping[str, int]


UNBOUNDED = Room(10**9, {})


@dataclass(frozen=True, slots=True)
class Recovered:
    """The result of a recovery call: events of dead workers, events in no index, whether there are more, burials."""

    taken_back: int
    orphans: int
    more: bool
    buried: Sequence[Buried] = ()


class Queue:
    """One worker's hold on the queue; not thread-safe, every call raises `redis.RedisError` when Redis is away.

    `lease` is the lease time in seconds, `longest_wait` the longest wait of a retry; with `refused_run` 0 no run of
    refusals stops an account. Calls of `lease` must not overlap, nor those of `settle`. `on_faults` is called after
    each call with the unusable keys and reasons: their accounts wait until the keys are fixed. `tracked` returns the
    accounts whose OTPs may be tracked: the others' verified events need no notice.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        worker: str,
        *,
        lease: float,
        remembered: Remembered,
        breaker: Breaker = Breaker(),  # noqa: B008 - frozen
        refused_run: int = REFUSED_RUN,
        on_faults: Callable[[Sequence[str]], None] = ignore,
        longest_wait: float = LONGEST_WAIT,
        tracked: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._worker = worker
        self._lease_ms = round(lease * 1000)
        self._longest_wait = longest_wait
        self._tracked = tracked
        self._first_told: set[str] = set()
        """The accounts that this worker told the tracker of: it need not wait to read that they are tracked."""
        self._remembered = remembered
        self._probe_interval = breaker.probe_interval
        self._breaker = breaker.arguments()
        self._refused_run = refused_run
        self._on_faults = on_faults
        self._tags = 0
        self._calls = 0
        self._leased_until = 0.0
        self.alone: frozenset[str] = frozenset()
        """Accounts of which no call in the last settle call left this machine, while another worker gets answers."""
        self._lease_script = Script("queue/lease.lua")
        self._settle_script = Script("queue/settle.lua")
        self._recover_script = Script("queue/recover.lua")

    async def lease(
        self,
        wants: Mapping[str, int],
        *,
        room: Room = UNBOUNDED,
        groups: Mapping[str, str] = MappingProxyType({}),
        solo: bool = False,
        probe_interval: float = PROBE_INTERVAL,
    ) -> Batch:
        """Renew the lease and take up to `wants[account]` events, each account at most its share of the room.

        `groups` bounds the accounts of one rate group together. Free room goes to the first accounts. `solo`: take one
        suspect and nothing else.
        """
        own = self._keys
        keys = [own.workers, own.held(self._worker), own.books]
        arguments: list[str | int] = [
            self._keys.prefix,
            self._worker,
            self._lease_ms,
            self._tags,
            int(solo),
            round(probe_interval * 1000),
            round(min(probe_interval, self._probe_interval) * 1000),
            room.free,
        ]
        for account, want in wants.items():
            arguments += (account, want, room.held.get(account, 0), groups.get(account, account))
        # Set before the call: a reply that is lost may have used the numbers.
        self._tags += sum(wants.values()) + len(wants) + LONG_AT_ONCE
        asked = now()
        reply = await self._lease_script.run(self._redis, keys, arguments)
        self._leased_until = asked + self._lease_ms / 1000
        leased = [
            Leased.parse(account, events[i].decode(), events[i + 1], purpose)
            for account, purpose, events in map(_of_account, reply[6:])
            for i in range(0, len(events), 2)
        ]
        self._report_faults(reply[3])
        return Batch(
            leased,
            held=reply[1],
            suspects=reply[2],
            now_us=int(reply[0]),
            buried=_buried(reply[4]),
            more=bool(reply[5]),
        )

    async def settle(
        self,
        settlements: Sequence[tuple[Held, Settlement]],
        call: int,
        calls: CallBuckets | None = None,
    ) -> list[bool | None]:
        """Settle leased events; False: its lease was lost; None: it is still leased, because a key can't be used.

        `call` is from `next_call()`; a repeated one acts once. At most SETTLED_AT_ONCE events. `calls` are counted for
        the circuit breakers.
        """
        keys = [
            self._keys.held(self._worker),
            self._keys.settled(self._worker),
            self._keys.books,
            self._keys.claims,
            self._keys.dead_reasons,
        ]
        arguments: list[str | bytes | int] = [self._keys.prefix, call, self._remembered.width]
        arguments += (*self._breaker, self._refused_run, *call_arguments(calls or {}))
        kinds: dict[_Kind, int] = {}
        events: list[str | bytes | int] = []
        for held, settlement in settlements:
            kind, of_event = _arguments(held, settlement, self._longest_wait)
            events += (kinds.setdefault(kind, len(kinds) + 1), *of_event)
        self._first_told.update(account for verb, account, *_ in kinds if verb == "track")
        notices = self._notices(settlements)
        arguments += (len(notices) // 2, *notices, len(kinds), *chain.from_iterable(kinds), *events)
        reply, *faults = cast("list[bytes]", await self._settle_script.run(self._redis, keys, arguments))
        self._report_faults(faults)
        flags, verdicts = reply[: len(settlements)], reply[len(settlements) :]
        of_calls = zip(calls or {}, verdicts, strict=False)
        self.alone = frozenset(account for (account, _, _), alone in of_calls if alone == ord("1"))
        return [FLAGS[flag] for flag in flags]

    def _notices(self, settlements: Sequence[tuple[Held, Settlement]]) -> list[bytes | int]:
        """Return the number of each event that ends as verified where OTPs are tracked, and its notice."""
        notices: list[bytes | int] = []
        if tracked := self._first_told.union(self._tracked()):
            for number, (held, settlement) in enumerate(settlements, 1):
                if held.account in tracked and isinstance(held, Delivery) and _verifies(held, settlement):
                    notices += (number, notice(held.event))
        return notices

    def holds(self) -> bool:
        """Whether the lease is valid; it ends if this process stalls, or gets no answer, for the lease time."""
        return now() < self._leased_until

    @property
    def lease_time(self) -> float:
        """Seconds that a lease lasts without renewal."""
        return self._lease_ms / 1000

    def next_call(self) -> int:
        """Return the number of a settle call; a call that is sent again keeps its number."""
        self._calls += 1
        return self._calls

    async def recover(self, accounts: Sequence[str]) -> Recovered:
        """Take back the events of dead workers; after a gap in Redis' heartbeat, nothing for one lease time."""
        keys = [self._keys.workers, self._keys.maintenance]
        longest_ms = round(self._longest_wait * 1000)
        arguments: list[str | int] = [
            self._keys.prefix,
            self._lease_ms,
            RECOVERED_AT_ONCE,
            longest_ms,
            *accounts,
        ]
        taken_back, orphans, more, faults, buried = await self._recover_script.run(
            self._redis, keys, arguments
        )
        self._report_faults(faults)
        return Recovered(taken_back, orphans, bool(more), _buried(buried))

    def _report_faults(self, faults: Iterable[bytes]) -> None:
        if listed := [fault.decode(errors="backslashreplace") for fault in faults]:
            self._on_faults(listed)

    async def held(self) -> set[str]:
        """Return the tags this worker holds by Redis' books."""
        members = await self._redis.smembers(self._keys.held(self._worker))
        return {text(tag) for tag in cast("set[bytes]", members)}

    async def leave(self) -> None:
        """Leave the fleet; other workers recover the events that this worker still holds."""
        if not await self._redis.exists(self._keys.held(self._worker)):
            await self._redis.zrem(self._keys.workers, self._worker)


def _of_account(listed: Sequence[bytes]) -> tuple[str, LeasePurpose, Sequence[bytes]]:
    """Read one list of lease.lua: its account, its purpose, then tags and records alternating."""
    return text(listed[0]), LeasePurpose(listed[1].decode()), listed[2:]


def _buried(words: Sequence[bytes]) -> list[Buried]:
    """Read a script's list of buried events."""
    rows = (map(bytes.decode, words[i : i + 4]) for i in range(0, len(words), 4))
    return [
        (
            Leased(account, tag, 0, 0, 0, History(replayed_ms=0 if replayed else None), b""),
            Bury(Reason(reason), b""),
        )
        for account, tag, reason, replayed in rows
    ]


def _verifies(delivery: Delivery, settlement: Settlement) -> bool:
    """Whether this end of an event is the moment to tell its tracker that the OTP was verified.

    Whatever became of the report; of a copy, the event that it is one of has told. Our own client writes the notice
    itself, with the report.
    """
    if delivery.noted or not delivery.event.verified:
        return False
    if isinstance(settlement, Finish):  # once a report, and `match` is dearer
        return settlement.ending is not _DUPLICATE
    return isinstance(settlement, Bury)


_Kind = tuple[str, str, str, str]
"""Verb, account, word and mark of settle.lua."""


def _arguments(
    held: Held, settlement: Settlement, longest_wait: float
) -> tuple[_Kind, tuple[str | bytes | int, ...]]:
    """Return settle.lua's arguments for one event: those of its kind, then its own."""
    if isinstance(settlement, Finish):  # once a report, and `match` is dearer
        member = held.member if settlement.ending is _DELIVERED else ""
        return ("finish", held.account, settlement.ending, ""), (held.tag, held.claim, member)
    leased = held.leased
    match settlement:
        case Track(notice):
            return ("track", leased.account, Ending.TRACKED, ""), (leased.tag, held.claim, notice)
        case Schedule(delay, record, eta, unsent):
            mark = "" if not leased.probe else "2" if unsent else "" if held.sending else "1"
            verb = "eta" if eta or delay > longest_wait else "schedule"
            of_event = leased.tag, round(delay * 1000), record or b"", held.since_ms
            return (verb, leased.account, "", mark), of_event
        case Bury(reason, letter):
            mark = "1" if leased.history.replayed_ms is not None else "p" if leased.probe else ""
            return ("bury", leased.account, reason, mark), (leased.tag, held.claim, letter)
