"""The Reporter, called by a login view: it puts an event on the queue within its time budget, even if Redis hangs."""

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
from typing import TYPE_CHECKING, Literal, NoReturn, Self

from otpreport.arguments import check, check_arguments, checked_accounts, checked_tracking
from otpreport.drops import Drops
from otpreport.event import Event
from otpreport.forks import on_fork, renew
from otpreport.link import Link
from otpreport.place import place, slug
from otpreport.push import Push, Unavailable, packed
from otpreport.receipt import Receipt, Receipts, Tally
from otpreport.spool import Spool, default_path
from otpreport.writing import Writing

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_log = logging.getLogger("otpreport")

_CONNECT_TIMEOUT = 2.0
"""Seconds the background thread gives Redis for each step of a connection; no caller waits for that."""
_LAST_FORWARD = 1.0
"""Seconds that `close` gives the spool; a program that reports once and ends may be the only one there is."""
_REDIS_SHARE = 0.6
"""Of the budget; the rest is the spool's."""
_CHUNK = 200
"""Events in one write: some 170 KB."""
_QUEUED = Receipt("queued")

SpoolPath = str | os.PathLike[str] | Literal[False] | None


class Reporter:
    """Put events on the queue in Redis, or into a spool on this machine's disk while Redis takes none.

    No fault of Redis or of the disk raises, and none blocks a caller for more than `timeout` seconds in total.
    Connections are opened in the background by the first report, so a Reporter may be made before a server
    forks its workers (gunicorn, celery, uWSGI); it may be used by many threads, and in forked children. (uWSGI
    runs no threads unless started with `--enable-threads`.)

    `spool` is a file for the events that wait, by default one in the user's state folder, named after Redis'
    address; False for none. It holds up to `spool_limit` reports (about 1 KB each). `key_prefix` is the
    worker's `OTPREPORT_KEY_PREFIX`. With `accounts` an event of any other account raises ValueError when it is
    reported; without it, a misspelt one waits in a queue without a worker. A wrong argument raises ValueError; the
    forms of `redis_url` are those of `otpreport.address.connection_pool`.

    With `tracking` it takes a Dispatch for each OTP that is sent, and the workers count how many of them were
    verified: each Verification with `verified=True` then writes a notice of 60 bytes besides its report, in one go.
    The spool then has room for `spool_limit` notices, too.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        spool: SpoolPath = None,
        timeout: float = 0.05,
        key_prefix: str = "",
        spool_limit: int = 100_000,
        accounts: Iterable[str] | None = None,
        tracking: bool = False,
    ) -> None:
        check_arguments(redis_url, spool, timeout, key_prefix, spool_limit)
        self._tracking = checked_tracking(tracking)
        self._accounts = checked_accounts(accounts)
        # Here, so that neither the import of this package pays for it nor the first report.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        from otpreport.connection import Connector  # noqa: PLC0415 - it imports redis-py

        connect = Connector(redis_url, timeout=max(_CONNECT_TIMEOUT, timeout))
        self._new_threads = partial(ThreadPoolExecutor, 8, thread_name_prefix="otpreport-areport")
        self._place = place(redis_url)
        self._timeout = timeout
        self._writing = Writing(key_prefix, tracking=self._tracking)
        self._link = Link(connect, find_master=connect.find_master)
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

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Reporter can't be copied or sent to another process: make one in each")

    @property
    def dropped(self) -> int:
        """How many events this process has dropped so far; with tracking also those of which it dropped the notice."""
        return self._drops.count

    def warm_up(self, timeout: float | None = None) -> bool:
        """Connect before the first event; return whether a connection is open within `timeout`, by default its own.

        No fault of Redis raises; after `timeout`, connecting continues in the background. A forked child opens its
        own connections, and has to call this itself.
        """
        renew()
        if self._spool is not None:
            self._spool.start()
        try:
            return self._link.warm_up(self._timeout if timeout is None else timeout)
        except Unavailable:  # no thread to connect with
            return False

    def report(self, event: Event) -> Receipt:
        """Put one event on the queue.

        TypeError for anything but a Verification or a Dispatch, ValueError for one made invalid or of another
        account, and for a Dispatch without tracking.
        """
        check(event, self._accounts, tracking=self._tracking)
        renew()
        return self._report(event, time.monotonic() + self._timeout)

    async def areport(self, event: Event) -> Receipt:
        """Put one event on the queue without holding asyncio's event loop, even if the caller is cancelled.

        Without asyncio, as under trio, it is `report` and holds the loop for at most `timeout`.
        """
        import asyncio  # noqa: PLC0415 - whoever awaits has it; an app with threads alone shall not pay for it

        check(event, self._accounts, tracking=self._tracking)
        renew()
        deadline = time.monotonic() + self._timeout
        try:
            loop = asyncio.get_running_loop()
            reported = loop.run_in_executor(self._own_threads(), self._report, event, deadline)
        except RuntimeError:  # trio's loop, no more threads, or the interpreter is shutting down
            return self._report(event, deadline)
        await asyncio.wait({reported}, timeout=self._timeout)
        if not reported.done() and time.monotonic() > deadline + self._timeout / 4:
            await asyncio.wait({reported}, timeout=self._timeout)  # this process was stopped, or its loop was
        if reported.done():
            return reported.result()
        return Receipt("dropped", "no answer in time (the event may still be queued)")

    def report_many(self, events: Iterable[Event]) -> Receipts:
        """Put many events on the queue, 200 in each write; TypeError or ValueError before any is written.

        An event that was made invalid after its validation raises ValueError before its write; of a long list those
        before may be queued then, and may be reported again: a copy is sent once.
        A healthy Redis has `timeout` for each write. After the first fault, the rest of that write's budget must do
        for all remaining events; `Receipts.dropped_events` are the events to try again.
        """
        everything = list(events)
        for event in everything:
            check(event, self._accounts, tracking=self._tracking)
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
        """Close connections and threads; events reported later are dropped.

        What the spool holds is forwarded first, for at most a second, unless Redis is known to be away; what is left
        waits on disk for the next Reporter with this spool. A program that ends without this does the same.
        """
        self._closer()
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _report(self, event: Event, deadline: float) -> Receipt:
        try:
            commands, messages = self._writing.single(event)
        except Exception as error:
            raise _invalid(error) from error
        reasons = self._enqueue(commands, len(messages), deadline)
        if not any(reasons):
            return _QUEUED
        receipts = self._receipts(self._writing.pushes(event, messages), reasons, deadline)
        for receipt in receipts:
            if receipt.status == "dropped":
                self._drops.add(1, receipt.reason)
                break
        return receipts[0]

    def _report_chunk(self, chunk: Sequence[Event], deadline: float, tally: Tally) -> float:
        """Report one write's worth; return the deadline of the rest, which a fault sets."""
        if time.monotonic() >= deadline:
            tally.add(chunk, Receipt("dropped", "no time left after a fault"))
            return deadline
        try:
            writes = self._writing.many(chunk)
        except Exception as error:
            raise _invalid(error) from error
        pushes = [write.push for write in writes]
        budget = min(deadline, time.monotonic() + self._timeout)
        reasons = self._enqueue(packed(pushes), len(pushes), budget)
        receipts = self._receipts(pushes, reasons, budget)
        for i, (write, receipt) in enumerate(zip(writes, receipts, strict=True)):
            tally.add(write.events, receipt)
            # the write before is that of their reports: where it was dropped, too, these are counted already
            if write.notices and receipt.status == "dropped" != receipts[i - 1].status:
                self._drops.add(write.notices, receipt.reason)
        return budget if any(reasons) else deadline

    def _enqueue(self, commands: bytes, count: int, deadline: float) -> list[str]:
        """Write to Redis, leaving the spool its share of the time; return "" or why not, for each command."""
        if self._spool is not None:
            self._spool.start()
            deadline -= self._timeout * (1 - _REDIS_SHARE)
        try:
            refusals = self._link.push(commands, count, deadline)
        except Unavailable as fault:
            return [fault.reason] * count
        if not any(refusals):
            return refusals
        return [f"Redis refused: {refusal}" if refusal else "" for refusal in refusals]

    def _receipts(self, pushes: Sequence[Push], reasons: Sequence[str], deadline: float) -> list[Receipt]:
        """Put into the spool what Redis did not take; return the receipt of each push."""
        failed = [push for push, reason in zip(pushes, reasons, strict=True) if reason]
        if not failed:
            return [_QUEUED] * len(pushes)
        # its share, also of a process that was stopped for longer: a container over its CPU quota, a frozen function
        deadline = max(deadline, time.monotonic() + self._timeout * (1 - _REDIS_SHARE))
        refusals = iter(
            ["no spool"] * len(failed) if self._spool is None else self._spool.put(failed, deadline)
        )
        return [_receipt(reason, next(refusals)) if reason else _QUEUED for reason in reasons]

    def _own_threads(self) -> ThreadPoolExecutor:
        """Return our own thread pool: the loop's default one may be busy for longer than the budget."""
        with self._lock:
            if self._executor is None:
                self._executor = self._new_threads()
            return self._executor

    def _open_spool(self, spool: SpoolPath, limit: int, name: str) -> Spool | None:
        if spool is False:
            return None
        try:
            # where the app was started: a server may change its folder later (daemons go to /)
            path = default_path(name) if spool is None else Path(spool).absolute()
        except RuntimeError as error:
            _log.warning("no spool for otpreport events: give Reporter(spool=...) a file: %s", error)
            return None
        self._link.meanwhile = f"; they wait in {path}"
        opened = Spool(path, self._link, limit=limit, with_notices=self._tracking)
        if opened.has_leftovers():
            opened.start()
        return opened


def _close(link: Link, spool: Spool | None, drops: Drops) -> None:
    renew()
    end = time.monotonic() + _LAST_FORWARD
    if spool is not None and link.opens(_LAST_FORWARD):
        spool.catch_up(end - time.monotonic())
    link.close()
    if spool is not None:
        spool.close()
    drops.close()


def _receipt(reason: str, refusal: str) -> Receipt:
    return Receipt("dropped", f"{reason}; {refusal}") if refusal else Receipt("spooled", reason)


def _invalid(error: Exception) -> ValueError:
    """Say so of an event that nothing validated: `model_copy`, `model_construct` and subclasses make such."""
    return ValueError(f"not a valid event: {error}")
