"""Between the worker's two threads: Celery's hub, which consumes, and the asyncio loop, which leases and reports."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from celery.worker import state

from otpreport.wire import queue_name

if TYPE_CHECKING:
    from tasks.delivery import Delivery
    from worker.engine import Engine

    Consume = Callable[[str, Sequence[Delivery]], bool]


class Bridge:
    """Hand deliveries over in batches: one wake-up of a thread for each batch, in each direction."""

    def __init__(self) -> None:
        self._hub: Any = None
        self._consume: Consume | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Engine | None = None
        self._leased: list[Delivery] = []
        self._received: list[Delivery] = []
        self._served: frozenset[str] = frozenset()

    def attach_engine(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        """Connect the asyncio side (asyncio thread)."""
        self._engine, self._loop = engine, loop
        served: frozenset[str] | None = None
        while served is not self._served:  # the hub's thread may have named others meanwhile
            served = self._served
            engine.serve(served)

    def detach_engine(self) -> None:
        """Stop handing over: the asyncio side has given back its events, and is closed (hub thread)."""
        self._engine = self._loop = None

    def attach_hub(self, hub: Any, consume: Consume) -> None:
        """Connect Celery; `consume` passes deliveries to a queue's consumer as one message, or returns False."""
        self._hub, self._consume = hub, consume

    def serve(self, accounts: frozenset[str]) -> None:
        """Lease from these accounts' queues from now on (hub thread)."""
        self._served = accounts
        if self._engine is not None:
            self._engine.serve(accounts)

    def end_worker(self, status: int) -> None:
        """Let Celery end the worker as after SIGTERM, with this exit status (asyncio thread)."""
        celery_state: Any = state
        celery_state.should_stop = status
        if self._hub is not None:  # else it looks before it first waits
            self._hub.call_soon(self._deliver)

    def hand_over(self, deliveries: list[Delivery]) -> None:
        """Pass fresh deliveries to Celery's consumer (asyncio thread)."""
        self._leased.extend(deliveries)
        self._hub.call_soon(self._deliver)

    def receive(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries back from Celery's consumer, to be reported (hub thread)."""
        self._received.extend(deliveries)

    def _deliver(self) -> None:
        """Pass leased events to the consumer, then send all it accepted to the loop at once (hub thread)."""
        if self._consume is None or self._engine is None or self._loop is None:
            return
        leased, self._leased = self._leased, []
        batches: defaultdict[str, list[Delivery]] = defaultdict(list)
        for delivery in leased:
            batches[delivery.account].append(delivery)
        for account, batch in batches.items():
            if not self._consume(queue_name(account), batch):
                self._loop.call_soon_threadsafe(self._engine.give_back, *batch)
        received, self._received = self._received, []
        if received:
            self._loop.call_soon_threadsafe(self._engine.start, received)
