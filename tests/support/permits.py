"""A provider's door that counts open requests, and workers of one rate group in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis

from tasks.dedupe import Remembered
from tasks.delivery import Delivery
from tasks.keys import Keys
from tasks.limiter.admission import Admission, RateGroup, Slot
from tasks.limiter.clock import RedisClock
from tests.support.entering import entered
from tests.support.queues import Fleet

ACCOUNT, GROUP = "tencent", "g"
FAST = 20_000
"""A rate that limits nothing."""


@dataclass
class Turnstile:
    """The provider: how many requests are open, were at most, for how long in all."""

    now: int = 0
    most: int = 0
    ended: int = 0
    seconds: float = 0.0
    _since: float = field(default_factory=time.monotonic)

    def change(self, by: int) -> None:
        """Let requests begin or end."""
        at = time.monotonic()
        self.seconds, self._since = self.seconds + self.now * (at - self._since), at
        self.now += by
        self.most = max(self.most, self.now)
        self.ended -= min(by, 0)


class Sender:
    """A worker that sends each event it has as soon as it may; its requests take `latency` seconds."""

    def __init__(
        self, fleet: Fleet, worker: str, door: Turnstile, group: RateGroup, latency: float, longest: float
    ) -> None:
        self.fleet, self.worker, self.door, self.latency = fleet, worker, door, latency
        self.faults: list[str] = []
        self.admission = admission(
            fleet.client, fleet.keys, worker, group, longest, on_faults=self.faults.extend
        )
        self.sent = 0
        self._running = asyncio.create_task(self.admission.run())
        self._sending: list[asyncio.Task[None]] = []

    def want(self, number: int) -> None:
        """Keep so many events at a time waiting or under way."""
        self._sending += [asyncio.create_task(self._send()) for _ in range(number)]

    async def stop_wanting(self) -> None:
        """Finish what is under way, and want no more."""
        await _cancelled(self._sending)
        self._sending.clear()

    async def die(self) -> None:
        """End as SIGKILL does, but on a host that is cut off: what is open stays so for the longest time."""
        await _cancelled([self._running])
        for task in self._sending:
            task.cancel("killed")
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def close(self) -> None:
        """End all tasks."""
        await _cancelled([*self._sending, self._running])

    async def _send(self) -> None:
        while True:
            slot = await entered(self.admission, await self._event())
            assert isinstance(slot, Slot)
            self.door.change(+1)
            try:
                await asyncio.sleep(self.latency)
            except asyncio.CancelledError as cancelled:
                if cancelled.args == ("killed",):
                    asyncio.get_running_loop().call_later(self.latency, self.door.change, -1)
                    raise
                await asyncio.sleep(self.latency)
                self._over(slot)
                raise
            self._over(slot)
            self.sent += 1

    def _over(self, slot: Slot) -> None:
        self.door.change(-1)
        if slot.permit is not None:
            slot.permit.end()

    async def _event(self) -> Delivery:
        self.fleet.send_many(1)
        (delivery,) = await self.fleet.take(1, self.worker)
        return delivery


def admission(
    client: Redis,
    keys: Keys,
    worker: str,
    group: RateGroup,
    longest: float,
    *,
    on_faults: Callable[[list[str]], None] = lambda _: None,
    boot: Callable[[], float] = time.monotonic,
) -> Admission:
    """Return a worker's admission to one group."""
    return Admission(
        client,
        keys,
        worker,
        {ACCOUNT: group},
        remembered=Remembered(86_400),
        clock=RedisClock(),
        on_error=lambda _: None,
        on_faults=lambda faults: on_faults(list(faults)),
        longest=longest,
        boot=boot,
    )


def trust(fleet: Fleet, group: str = GROUP) -> None:
    """Let the group's permits be those of this Redis, as after its first minute: none waits for requests of before."""
    run = fleet.server.info("server")["run_id"]
    fleet.server.hset(fleet.keys.permits(group), mapping={"@run": run, "@from": 0})


def counted(fleet: Fleet, worker: str) -> int:
    """Return how many requests Redis thinks that a worker may have open."""
    entry: bytes | None = fleet.server.hget(fleet.keys.permits(GROUP), worker)
    return int(entry.split()[0]) if entry else 0


@contextlib.asynccontextmanager
async def senders(
    fleet: Fleet,
    number: int,
    in_flight: int | None,
    *,
    latency: float = 0.02,
    longest: float = 0.3,
    rate: int = FAST,
) -> AsyncGenerator[tuple[Turnstile, list[Sender]]]:
    """Run workers for the time of a test; they have no events yet."""
    door, group = Turnstile(), RateGroup(GROUP, rate, in_flight)
    workers = [Sender(fleet, f"w{n}", door, group, latency, longest) for n in range(number)]
    try:
        yield door, workers
    finally:
        for worker in workers:
            await worker.close()


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
