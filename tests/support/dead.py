"""Dead letters made as a worker makes them: sent, leased, settled."""

import asyncio
import secrets
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import redis
from redis.asyncio import Redis

from otpreport import Verification
from otpreport.wire import encode
from providers.base import Result
from tasks.dead_letters import write as dead_letter
from tasks.dedupe import Remembered
from tasks.delivery import Held, Leased, Undeliverable, read
from tasks.history import Attempt, History
from tasks.keys import Keys
from tasks.queue.queue import SETTLED_AT_ONCE, Queue
from tasks.retry import Reason
from tasks.settlement import Bury, Settlement
from tests.support.events import verification

T = TypeVar("T")

REFUSED = Attempt(1_777_000_000_000, Result.PERMANENT, "InvalidParameter", "no such SerialNo", "req-1", 51)
LOST = Attempt(1_777_000_000_000, Result.UNKNOWN, "timeout", "no answer within 10 s", "", 10_000)


@dataclass(frozen=True, slots=True)
class Death:
    """How an event dies; without `raw` it was a good one.

    Fifty that die as `permanent` stop their account, as ever.
    """

    reason: Reason = Reason.EXHAUSTED
    attempts: tuple[Attempt, ...] = (REFUSED,)
    raw: bytes | None = None


class Undertaker:
    """Sends, leases and buries events in the Redis at a port, for tests that know no asyncio."""

    def __init__(self, port: int, *, prefix: str = "", worker: str = "aaaabbbbcccc") -> None:
        self._port = port
        self.keys = Keys(prefix)
        self._worker = worker
        self._numbers = 0
        self.last: Verification
        """The good event that was sent last."""

    def bury(self, account: str, count: int = 1, death: Death | None = None) -> list[str]:
        """Send, lease and bury events; return the ids of the letters."""
        return self._run(self._bury(account, count, death or Death()))

    def send(self, account: str, count: int = 1, raw: bytes | None = None) -> None:
        """Enqueue good events, or this message."""
        self._run(self._send(account, count, raw))

    def round(self, account: str) -> None:
        """Make one call for leases, for what no worker gets."""
        self._run(self._lease_once(account))

    def lease(self, account: str, count: int = 1) -> list[Leased]:
        """Lease events under a name of its own, so that tags never repeat."""
        return self._run(self._lease(account, count))

    def settle(self, settlements: Sequence[tuple[Held, Settlement]]) -> list[bool | None]:
        """Settle what `lease` returned."""
        return self._run(self._settle(settlements))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    async def _bury(self, account: str, count: int, death: Death) -> list[str]:
        await self._send(account, count, death.raw)
        leased = await self._lease(account, count)
        assert len(leased) == count
        for part in _parts(leased):
            assert all(await self._settle([(one, burial(one, death)) for one in part]))
        return [one.tag for one in leased]

    async def _send(self, account: str, count: int, raw: bytes | None) -> None:
        key = self.keys.ready(account)[0]
        messages: list[bytes] = []
        for _ in range(count):
            self._numbers += 1
            event = self.last = verification(self._numbers, account)
            messages.append(encode(event, task_id=str(self._numbers)) if raw is None else raw)
        async with Redis(port=self._port) as client:
            await client.lpush(key, *messages)

    async def _lease(self, account: str, count: int) -> list[Leased]:
        self._numbers += 1
        self._worker = f"{self._worker[:4]}{self._numbers:08x}"
        async with Redis(port=self._port) as client:
            queue, leased = self._queue(client), list[Leased]()
            while len(leased) < count:
                batch = await queue.lease({account: count - len(leased)})
                leased += batch.leased
                if not batch.more:
                    break
            return leased

    async def _lease_once(self, account: str) -> None:
        async with Redis(port=self._port) as client:
            await self._queue(client).lease({account: 1})

    async def _settle(self, settlements: Sequence[tuple[Held, Settlement]]) -> list[bool | None]:
        self._numbers += 1
        async with Redis(port=self._port) as client:
            return await self._queue(client).settle(settlements, self._numbers)

    def _queue(self, client: Redis) -> Queue:
        return Queue(client, self.keys, self._worker, lease=30.0, remembered=Remembered())


def _parts(leased: Sequence[Leased]) -> Iterator[Sequence[Leased]]:
    for start in range(0, len(leased), SETTLED_AT_ONCE):
        yield leased[start : start + SETTLED_AT_ONCE]


def burial(leased: Leased, death: Death) -> Bury:
    """Return how a worker settles an event that dies so."""
    now_ms = leased.first_ms
    found = read(leased, now_ms=now_ms)
    event = found.event if not isinstance(found, Undeliverable) else None
    why = found.why if isinstance(found, Undeliverable) else ""
    letter = dead_letter.write(leased, History(death.attempts), death.reason, why, event, now_ms=now_ms)
    return Bury(death.reason, letter)


def bury_many(client: redis.Redis, events: Sequence[Verification], *, prefix: str = "") -> list[str]:
    """Write down events as taken and dead, straight into Redis: many at once, quickly; return the letters' ids."""
    keys, untyped, worker = Keys(prefix), cast("Any", client), secrets.token_hex(6)
    ids: list[str] = []
    for start in range(0, len(events), 1000):
        pipe = untyped.pipeline()
        for number, event in enumerate(events[start : start + 1000], start):
            tag, now_ms = f"{event.account}:{worker}:{number}", time.time_ns() // 1_000_000
            leased = Leased(event.account, tag, 0, 0, now_ms, History(), encode(event, task_id=str(number)))
            letter = dead_letter.write(
                leased, History((REFUSED,)), Reason.EXHAUSTED, "", event, now_ms=now_ms
            )
            pipe.hset(keys.dead(event.account), tag, letter)
            pipe.zadd(keys.dead_index(event.account), {tag: now_ms})
            pipe.hincrby(keys.dead_reasons, f"{event.account}:exhausted", 1)
            pipe.hincrby(keys.books, f"{event.account}:taken", 1)
            ids.append(tag)
        pipe.execute()
    return ids


def schedule_all(client: redis.Redis, account: str) -> None:
    """Put an account's dead letters among the scheduled events, due now: a replay without any pace."""
    keys, untyped = Keys(), cast("Any", client)
    letters: dict[bytes, bytes] = untyped.hgetall(keys.dead(account))
    now_ms = time.time_ns() // 1_000_000
    history = History(replayed_ms=now_ms).encode()
    pipe = untyped.pipeline()
    for id_, letter in letters.items():
        pipe.hset(keys.taken(account), id_, b"0 0 %d\n%b\n%b" % (now_ms, history, letter.partition(b"\n")[2]))
        pipe.zadd(keys.scheduled(account), {id_: now_ms})
    pipe.delete(keys.dead(account), keys.dead_index(account))
    pipe.hdel(keys.dead_reasons, f"{account}:exhausted")
    pipe.execute()
