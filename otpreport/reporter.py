"""What a login view calls: it puts an event on the queue, within its time budget, whatever Redis does."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from otpreport.drops import Drops
from otpreport.event import Verification
from otpreport.forks import on_fork, renew
from otpreport.link import Link
from otpreport.place import place, slug
from otpreport.push import Push, Unavailable
from otpreport.receipt import Receipt, Receipts, Tally
from otpreport.spool import Spool, default_path
from otpreport.wire import encode, queue_name

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_log = logging.getLogger("otpreport")

_CONNECT_TIMEOUT = 2.0
"""Seconds the background thread gives Redis for each step of a connection; no caller waits for that."""
_REDIS_SHARE = 0.6
"""Of the budget; the rest is the spool's."""
_CHUNK = 200
"""Events in one write: some 170 KB."""
_QUEUED = Receipt("queued")

SpoolPath = str | os.PathLike[str] | Literal[False] | None


class Reporter:
    """Put events on the queue in Redis, or into a spool on this machine's disk while Redis takes none.

    No fault of Redis or of the disk raises, and none holds a caller longer than `timeout` seconds in all.
    Connections are opened in the background by the first report, so a Reporter may be made before a server
    forks its workers (gunicorn, celery, uWSGI); it may be used by many threads, and in forked children. (uWSGI
    runs no threads unless started with `--enable-threads`.)

    `spool` is a file for the events that wait, by default one in the user's state folder, named after Redis'
    address; False for none. It holds up to `spool_limit` events (about 1 KB each). `key_prefix` is the
    worker's `OTPREPORT_KEY_PREFIX`. A wrong `redis_url` raises ValueError; its forms are those of
    `otpreport.address.connection_pool`.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        spool: SpoolPath = None,
        timeout: float = 0.05,
        key_prefix: str = "",
        spool_limit: int = 100_000,
    ) -> None:
        if not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}")
        # Here, so that neither the import of this package pays for it nor the first report.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        from otpreport.connection import connector  # noqa: PLC0415 - it imports redis-py

        connect = connector(redis_url, timeout=max(_CONNECT_TIMEOUT, timeout))
        self._new_threads = partial(ThreadPoolExecutor, 8, thread_name_prefix="otpreport-areport")
        self._place = place(redis_url)
        self._timeout = timeout
        self._key_prefix = key_prefix
        self._link = Link(connect)
        self._spool = self._open_spool(spool, spool_limit, slug(redis_url))
        self._drops = Drops()
        self._closer = weakref.finalize(self, _close, self._link, self._spool, self._drops)
        on_fork(self)
        self.after_fork()

    def after_fork(self) -> None:
        """Start afresh in a forked child: the executor's threads are gone."""
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"Reporter({self._place!r})"

    @property
    def dropped(self) -> int:
        """How many events this process has dropped so far."""
        return self._drops.count

    def report(self, event: Verification) -> Receipt:
        """Put one event on the queue; TypeError for anything but a Verification, ValueError for one made invalid."""
        check(event)
        renew()
        return self._report(event, time.monotonic() + self._timeout)

    async def areport(self, event: Verification) -> Receipt:
        """Put one event on the queue without holding the event loop, even if the caller is cancelled."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it; an app with threads alone shall not pay for it

        check(event)
        renew()
        deadline = time.monotonic() + self._timeout
        try:
            loop = asyncio.get_running_loop()
            reported = loop.run_in_executor(self._own_threads(), self._report, event, deadline)
        except RuntimeError as error:  # the interpreter is shutting down
            return Receipt("dropped", str(error))
        await asyncio.wait({reported}, timeout=self._timeout)
        if reported.done():
            return reported.result()
        return Receipt("dropped", "no answer in time (the event may still be queued)")

    def report_many(self, events: Iterable[Verification]) -> Receipts:
        """Put many events on the queue, some hundred in each write; TypeError before any is written.

        An event that was made invalid after its validation raises ValueError before its write; of a long list those
        before may be queued then, and may be reported again: a copy is sent once.
        A healthy Redis is given `timeout` for each write. From the first fault on, what is left of that
        write's budget is all there is for the rest; `Receipts.dropped_events` are the events to try again.
        """
        everything = list(events)
        for event in everything:
            check(event)
        renew()
        tally = Tally()
        deadline = math.inf
        for start in range(0, len(everything), _CHUNK):
            deadline = self._report_chunk(everything[start : start + _CHUNK], deadline, tally)
        receipts = tally.receipts()
        if receipts.dropped:
            self._drops.add(receipts.dropped, next(reversed(receipts.reasons)))
        return receipts

    def close(self) -> None:
        """Close connections and threads; what is reported from now on is dropped."""
        self._closer()
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _report(self, event: Verification, deadline: float) -> Receipt:
        try:
            message = encode(event, task_id=os.urandom(16).hex())
            pushes = (Push(self._key_prefix + queue_name(event.account), (message,)),)
        except Exception as error:
            raise _invalid(error) from error
        (reason,) = self._enqueue(pushes, deadline)
        if not reason:
            return _QUEUED
        receipt = _receipt(reason, self._set_aside(pushes, deadline))
        if receipt.status == "dropped":
            self._drops.add(1, receipt.reason)
        return receipt

    def _report_chunk(self, chunk: Sequence[Verification], deadline: float, tally: Tally) -> float:
        """Report one write's worth; return the deadline of the rest, which a fault sets."""
        if time.monotonic() >= deadline:
            tally.add(chunk, Receipt("dropped", "no time left after a fault"))
            return deadline
        try:
            groups = _by_account(chunk)
            pushes = [self._push(account, events) for account, events in groups.items()]
        except Exception as error:
            raise _invalid(error) from error
        budget = min(deadline, time.monotonic() + self._timeout)
        reasons = self._enqueue(pushes, budget)
        failed = [push for push, reason in zip(pushes, reasons, strict=True) if reason]
        refusal = self._set_aside(failed, budget) if failed else ""
        for events, reason in zip(groups.values(), reasons, strict=True):
            tally.add(events, _receipt(reason, refusal) if reason else _QUEUED)
        return budget if failed else deadline

    def _push(self, account: str, events: Sequence[Verification]) -> Push:
        ids = os.urandom(16 * len(events)).hex()
        messages = [encode(event, task_id=ids[32 * i : 32 * i + 32]) for i, event in enumerate(events)]
        return Push(self._key_prefix + queue_name(account), messages)

    def _enqueue(self, pushes: Sequence[Push], deadline: float) -> list[str]:
        """Write to Redis, leaving the spool its share of the time; return "" or why not, for each push."""
        if self._spool is not None:
            self._spool.start()
            deadline -= self._timeout * (1 - _REDIS_SHARE)
        try:
            refusals = self._link.push(pushes, deadline)
        except Unavailable as fault:
            return [fault.reason] * len(pushes)
        return [f"Redis refused: {refusal}" if refusal else "" for refusal in refusals]

    def _set_aside(self, pushes: Sequence[Push], deadline: float) -> str:
        """Put into the spool what Redis did not take; return "" or why not."""
        return "no spool" if self._spool is None else self._spool.put(pushes, deadline)

    def _own_threads(self) -> ThreadPoolExecutor:
        """Return threads of our own: the loop's may be busy for longer than the budget."""
        with self._lock:
            if self._executor is None:
                self._executor = self._new_threads()
            return self._executor

    def _open_spool(self, spool: SpoolPath, limit: int, name: str) -> Spool | None:
        if spool is False:
            return None
        try:
            path = default_path(name) if spool is None else Path(spool)
        except RuntimeError as error:
            _log.warning("no spool for events: give Reporter(spool=...) a file: %s", error)
            return None
        opened = Spool(path, self._link, limit=limit)
        if opened.has_leftovers():
            opened.start()
        return opened


def _close(link: Link, spool: Spool | None, drops: Drops) -> None:
    renew()
    link.close()
    if spool is not None:
        spool.close()
    drops.close()


def _receipt(reason: str, refusal: str) -> Receipt:
    return Receipt("dropped", f"{reason}; {refusal}") if refusal else Receipt("spooled", reason)


def _invalid(error: Exception) -> ValueError:
    """Say so of an event that nothing validated: `model_copy`, `model_construct` and subclasses make such."""
    return ValueError(f"not a valid event: {error}")


def check(event: object) -> None:
    """Raise TypeError for anything but a Verification."""
    if not isinstance(event, Verification):
        raise TypeError(f"expected a Verification, not {type(event).__name__}")


def _by_account(events: Iterable[Verification]) -> dict[str, list[Verification]]:
    groups: dict[str, list[Verification]] = {}
    for event in events:
        groups.setdefault(event.account, []).append(event)
    return groups
