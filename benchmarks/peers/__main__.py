"""Run one peer in its own environment: `python -m benchmarks.peers MODULE work|work_batched|produce [COUNT]`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop

from benchmarks.peers.recording import numbered


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main(module: str, role: str, count: int = 0) -> None:
    """Run a peer's worker, or its producer of N events."""
    peer = importlib.import_module(f"benchmarks.peers.{module}")
    work = getattr(peer, role)
    uvloop.run(_until_told(work(numbered(count)) if role == "produce" else work()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
