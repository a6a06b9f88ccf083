"""Callbacks and coroutines, one made of the other."""

import asyncio
import contextlib
import gc
import weakref
from functools import partial

import pytest

from providers.base import Answer
from tasks.report import InDoubt, NotSent
from worker.http.hearing import Cancel, RequestTasks, Then, awaited

ANSWER = Answer(200, {}, b"")


async def test_an_answer_and_an_error_are_heard_once() -> None:
    """What a coroutine returns or raises, later than the call."""
    sending, heard = RequestTasks(), list[Answer | Exception]()
    error = NotSent("no name")

    async def fail() -> Answer:
        raise error

    async def answer() -> Answer:
        return ANSWER

    sending.start(answer, heard.append)
    sending.start(fail, heard.append)
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [ANSWER, error]
    await sending.end()


@pytest.mark.parametrize("turns", [0, 1])
async def test_a_request_that_is_given_up_ends(turns: int) -> None:
    """Before its task has begun as well as after; nothing is left that was never awaited."""
    sending, heard = RequestTasks(), list[Answer | Exception]()
    cancel = sending.start(asyncio.get_running_loop().create_future, heard.append)  # type: ignore[arg-type]  # it waits
    for _ in range(turns):
        await asyncio.sleep(0)
    cancel()
    await sending.end()
    assert [type(one) for one in heard] == [InDoubt] * turns


async def test_a_request_that_somebody_else_cancels_is_in_doubt() -> None:
    """A library may cancel what it was called by; its event must not wait for ever."""
    sending, heard = RequestTasks(), list[Answer | Exception]()

    async def cancelled() -> Answer:
        raise asyncio.CancelledError

    sending.start(cancelled, heard.append)
    await asyncio.sleep(0)
    assert [type(one) for one in heard] == [InDoubt]
    await sending.end()


async def test_who_waits_and_is_cancelled_gives_up() -> None:
    """Only if the answer has not come: its connection may carry another request by then."""
    given_up: list[str] = []
    thens: list[Then] = []

    def start(then: Then) -> Cancel:
        thens.append(then)
        return lambda: given_up.append("cut")

    for answered in (False, True):
        waiting = asyncio.create_task(awaited(start))
        await asyncio.sleep(0)
        if answered:
            thens[-1](ANSWER)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert given_up == ["cut"]
        thens[-1](ANSWER)


async def test_an_error_leaves_nothing_for_the_collector() -> None:
    """While a provider is away there is one for each event."""
    sending, refs = RequestTasks(), list[weakref.ref[Exception]]()

    async def fail() -> Answer:
        error = NotSent("refused")
        refs.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    gc.disable()
    try:
        sending.start(fail, lambda _: None)
        await asyncio.sleep(0)
        with contextlib.suppress(NotSent):
            await awaited(partial(sending.start, fail))
        await sending.end()
        assert [ref() for ref in refs] == [None, None]
    finally:
        gc.enable()
