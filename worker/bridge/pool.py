"""Celery's execution pool: an asyncio loop in its own thread, which runs the engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import uvloop
from celery.concurrency.base import BasePool
from celery.exceptions import ImproperlyConfigured
from celery.worker import state

from otpreport.wire import queue_name
from worker.bridge.handover import Bridge
from worker.bridge.transport import Message
from worker.runtime import Runtime


class AsyncioPool(BasePool):
    """Run deliveries on asyncio; Celery's own executor takes no part, so tasks need no ack, retry or result."""

    signal_safe = False
    task_join_will_block = False

    def on_start(self) -> None:
        """Start the loop and build everything on it."""
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncio", daemon=True)
        self._thread.start()
        self.bridge: Bridge = self.app.conf.broker_transport_options["bridge"]
        self._runtime: Runtime = self.app.otpreport_runtime
        prefix = queue_name("")
        accounts = sorted(queue.removeprefix(prefix) for queue in self.app.amqp.queues.consume_from)
        self._call(self._runtime.start(self.bridge, accounts), timeout=60)

    def on_stop(self) -> None:
        """Finish or hand back held events, within the grace."""
        # on SIGQUIT Celery stops the pool before it terminates it
        cold = state.should_terminate not in {None, False}
        self._end(0.0 if cold else self._runtime.grace)

    def on_terminate(self) -> None:
        """Hand back held events at once (SIGQUIT)."""
        self._end(0.0)

    def on_apply(self, *_: Any, **__: Any) -> None:
        """Refuse: deliveries come through `strategy`."""
        raise NotImplementedError("this pool runs otpreport.report alone")

    def _end(self, grace: float) -> None:
        if not self._loop.is_running():
            return
        self._call(self._runtime.stop(grace), timeout=grace + 30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self.bridge.detach_engine()  # Celery's hub still runs what it was to do
        self._loop.close()

    def _call(self, coroutine: Any, *, timeout: float) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    @property
    def num_processes(self) -> int:
        """One: the requests in flight are the engine's business."""
        return 1


def strategy(task: Any, app: Any, consumer: Any, **_: Any) -> Callable[..., None]:
    """Return Celery's handler for a received message: its deliveries go straight to the engine."""
    pool = consumer.pool
    if not isinstance(pool, AsyncioPool):
        raise ImproperlyConfigured(
            f"otpreport runs on its own pool: start the worker without -P (got {type(pool)})"
        )
    receive = pool.bridge.receive

    def handle(message: Message, *_: Any) -> None:
        receive(message.deliveries)

    return handle
