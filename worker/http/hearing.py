"""Answers by a callback and answers by a coroutine: one made of the other.

A report hears its answer by a callback: a task and a future for each would cost a twentieth of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

from providers.base import Answer
from tasks.report import InDoubt

Then: TypeAlias = Callable[[Answer | Exception], None]
"""Hears the whole answer, or why there is none; never before the call that it was given to has returned."""
Cancel: TypeAlias = Callable[[], object]
"""Gives up a request whose answer was not heard yet."""
Send: TypeAlias = Callable[[], Coroutine[Any, Any, Answer]]


async def awaited(start: Callable[[Then], Cancel]) -> Answer:
    """Wait for what `start` lets us hear, and return or raise it; when cancelled, give the request up."""
    heard: asyncio.Future[Answer | Exception] = asyncio.get_running_loop().create_future()
    cancel = start(partial(_hear, heard))
    try:
        answer = await heard
    except asyncio.CancelledError:
        if heard.cancelled():
            cancel()
        raise
    try:
        if isinstance(answer, Exception):
            raise answer
        return answer
    finally:
        del answer, heard  # an exception refers to this frame


def _hear(heard: asyncio.Future[Answer | Exception], answer: Answer | Exception) -> None:
    if not heard.done():
        heard.set_result(answer)


class RequestTasks:
    """Requests that are coroutines, each in a task."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, send: Send, then: Then) -> Cancel:
        """Let `then` hear what a coroutine returns or raises."""
        task = asyncio.create_task(_send(send, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.cancel

    async def end(self) -> None:
        """Give up those under way, and wait for their end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _send(send: Send, then: Then) -> None:
    answer: Answer | Exception
    try:
        answer = await send()
    except asyncio.CancelledError:
        then(InDoubt("cancelled"))
        raise
    except Exception as error:  # who hears it knows whether that is a fault
        answer = error
    try:
        then(answer)
    finally:
        del answer, then  # an exception refers to this frame
