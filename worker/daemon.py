"""Blocking calls that may never end, in daemon threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_daemon(call: Callable[[], T]) -> T:
    """Return what a blocking call returns, or raise what it raises; if cancelled, the call is abandoned.

    Unlike those of `asyncio.to_thread`, its thread does not keep the interpreter from exiting.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(lambda: None if done.done() else settle())

    def run() -> None:
        try:
            result = call()
        except Exception as error:  # raised where the call is awaited
            fault = error
            finish(lambda: done.set_exception(fault))
        else:
            finish(lambda: done.set_result(result))

    threading.Thread(target=run, name="otpreport-daemon", daemon=True).start()
    return await done
