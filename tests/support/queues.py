"""Several workers' queues on one Redis, and a look into every place an event can be."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.asyncio import Redis

from otpreport import Verification
from otpreport.wire import encode
from tasks.dedupe import Remembered
from tasks.delivery import Delivery, Held, Leased, read
from tasks.keys import Keys
from tasks.queue.queue import Batch, Queue
from tasks.script import Script, ignore
from tasks.settlement import Settlement
from tests.support.leased import event

FINISHED = ("delivered", "duplicate", "skipped", "shed", "purged", "tracked")


@dataclass(frozen=True, slots=True)
class Places:
    """How many events of an account are where."""

    ready: int
    taken: int
    finished: int
    dead: int
    held: int
    scheduled: int
    suspects: int
    records: int

    @property
    def balanced(self) -> bool:
        """Whether every event that was taken is in exactly one place."""
        waiting = self.held + self.scheduled + self.suspects
        return self.records == waiting and self.taken == self.finished + self.dead + waiting


class Fleet:
    """Workers on one server; `client` is what they use, `server` looks on."""

    def __init__(
        self,
        client: Redis,
        server: redis.Redis,
        *,
        prefix: str = "",
        lease: float = 30.0,
        ttl: float = 86_400,
    ) -> None:
        self.client = client
        self.server: Any = server
        self.keys = Keys(prefix)
        self.lease = lease
        self.remembered = Remembered(ttl)
        self.tracked: Collection[str] = ("tencent", "alibaba")
        """The accounts whose OTPs the workers take for tracked: whether one is, Redis knows."""
        self._queues: dict[str, Queue] = {}
        self._sent = 0

    def queue(self, worker: str = "w1", on_faults: Callable[[Sequence[str]], None] = ignore) -> Queue:
        """Return a worker's queue, always the same."""
        if worker not in self._queues:
            self._queues[worker] = self.new_queue(worker, on_faults)
        return self._queues[worker]

    def new_queue(self, worker: str, on_faults: Callable[[Sequence[str]], None] = ignore) -> Queue:
        """Return a queue that begins anew, as after a start of the process."""
        return Queue(
            self.client,
            self.keys,
            worker,
            lease=self.lease,
            remembered=self.remembered,
            on_faults=on_faults,
            tracked=lambda: self.tracked,
        )

    @property
    def sent(self) -> int:
        """How many events were enqueued."""
        return self._sent

    def send(self, *events: Verification, step: int = 0) -> None:
        """Enqueue as a producer does, with one of the four priorities."""
        for sent in events:
            self._sent += 1
            key = self.keys.ready(sent.account)[step]
            self.server.lpush(key, encode(sent, task_id=str(self._sent)))

    def send_many(self, number: int, account: str = "tencent") -> None:
        """Enqueue so many different events."""
        self.send(*(event(f"{account}-{self._sent + n}", account) for n in range(number)))

    async def take(self, number: int = 1, worker: str = "w1", account: str = "tencent") -> list[Delivery]:
        """Lease and read up to `number` good events."""
        batch = await self.queue(worker).lease({account: number})
        return [delivered(leased) for leased in batch.leased]

    async def settle(self, delivery: Held, settlement: Settlement, worker: str = "w1") -> bool:
        """Settle one event; whether the lease was still the worker's."""
        queue = self.queue(worker)
        return (await queue.settle([(delivery, settlement)], queue.next_call()))[0] is True

    def places(self, account: str = "tencent") -> Places:
        """Count the account's events in every place."""
        server, keys = self.server, self.keys
        books = self.books(account)
        return Places(
            ready=sum(server.llen(key) for key in keys.ready(account)),
            taken=books["taken"],
            finished=sum(books[ending] for ending in FINISHED),
            dead=server.hlen(keys.dead(account)),
            held=sum(tag.startswith(f"{account}:") for tags in self.held().values() for tag in tags),
            scheduled=server.zcard(keys.scheduled(account)),
            suspects=server.zcard(keys.suspects(account)),
            records=server.hlen(keys.taken(account)),
        )

    def books(self, account: str = "tencent") -> Counter[str]:
        """Return the account's books."""
        found: dict[bytes, bytes] = self.server.hgetall(self.keys.books)
        rows = ((name.decode().partition(":"), int(number)) for name, number in found.items())
        return Counter({what: number for (name, _, what), number in rows if name == account})

    def held(self) -> dict[str, set[str]]:
        """Return the tags that each worker holds."""
        prefix = self.keys.held("")
        held: dict[str, set[str]] = {}
        for key in cast("list[bytes]", self.server.keys(f"{prefix}*")):
            held[key.decode().removeprefix(prefix)] = {tag.decode() for tag in self.server.smembers(key)}
        return held

    def state(self, account: str = "tencent") -> dict[str, str]:
        """Return what Redis knows of the account."""
        found: dict[bytes, bytes] = self.server.hgetall(self.keys.account(account))
        return {name.decode(): value.decode() for name, value in found.items()}

    def probe_now(self, account: str = "tencent") -> None:
        """Let the next probe of an account that is stopped, or open, be due."""
        self.server.hset(self.keys.account(account), "probe_at_ms", 0)

    def set_state(self, state: str, account: str = "tencent", *, probe_in: float = 0.0) -> None:
        """Put the account into a state, as stop.lua or an operator does."""
        at_ms = self.now_us() // 1000 + round(probe_in * 1000)
        self.server.hset(self.keys.account(account), mapping={"state": state, "probe_at_ms": at_ms})

    def now_us(self) -> int:
        """Return the time of Redis' clock."""
        seconds, micros = self.server.time()
        return int(seconds) * 1_000_000 + int(micros)

    def all_keys(self) -> set[str]:
        """Return every key of the server."""
        return {key.decode() for key in self.server.keys("*")}


def delivered(leased: Leased) -> Delivery:
    """Read a leased event that must be a good one."""
    found = read(leased, now_ms=leased.first_ms)
    assert isinstance(found, Delivery), found
    return found


def ids(batch: Batch) -> list[str]:
    """Return the message ids of a batch, in its order."""
    return [delivered(leased).event.message_id for leased in batch.leased]


class AlteredScript(Script):
    """A script of tasks/ with pieces of its text replaced, old and new in turn: a protection switched off."""

    def __init__(self, name: str, *changes: str) -> None:
        super().__init__(name)
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in self._text, f"{name} has no {old!r} any more"
            self._text = self._text.replace(old, new)
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()


SHARE = "math.max(0, math.ceil((2 * free - held) / 3))"
"""How lease.lua shares a worker between its accounts."""


def alter(owner: object, attribute: str, name: str, *changes: str) -> None:
    """Let `owner` run the script `name` altered, old and new in turn."""
    assert hasattr(owner, attribute)
    setattr(owner, attribute, AlteredScript(name, *changes))
