"""A worker that dies in the middle of a settle: `python -m tests.support.chaos_worker`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from tasks.delivery import Held
from tasks.queue.breaker import CallBuckets
from tasks.queue.queue import Queue
from tasks.settlement import Settlement
from tests.support import odd_worker

COMMAND = ("-m", "tests.support.chaos_worker")
WRITTEN = 4
"""Turns of the event loop after which the call has left and its answer has hardly come."""

_settle = Queue.settle
_passed = 0


async def _die_amid_settle(
    self: Queue,
    settlements: Sequence[tuple[Held, Settlement]],
    call: int,
    calls: CallBuckets | None = None,
) -> list[bool | None]:
    """Send the call that settles, and die before its answer is read."""
    global _passed  # noqa: PLW0603 - one worker, one death
    _passed += len(settlements)
    sent = asyncio.ensure_future(_settle(self, settlements, call, calls))
    if _passed >= odd_worker.AFTER:
        for _ in range(WRITTEN):
            await asyncio.sleep(0)
        odd_worker.die()
    return await sent


def main() -> None:
    """Put the fault in, then run the worker as `otpreport run` does."""
    Queue.settle = _die_amid_settle  # type: ignore[method-assign]  # that is the fault
    sys.argv.append("run")
    from worker.cli.app import main as worker_main

    worker_main()


if __name__ == "__main__":
    main()
