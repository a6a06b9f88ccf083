"""Waiting for a state, with a deadline."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(check: Callable[[], T], *, deadline: float = 30.0, pause: float = 0.02) -> T:
    """Return the first true value of `check()`; AssertionError after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not (value := check()):
        assert time.monotonic() < end, f"not within {deadline} s: {check}"
        time.sleep(pause)
    return value


async def coming(check: Callable[[], object], *, deadline: float = 30.0, pause: float = 0.01) -> None:
    """Let other tasks go on until `check()` is true; AssertionError after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not check():
        assert time.monotonic() < end, f"not within {deadline} s: {check}"
        await asyncio.sleep(pause)
