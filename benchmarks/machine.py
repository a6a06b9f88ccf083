"""Where and when something was measured."""

from __future__ import annotations

import os
import platform
import timeit
from datetime import UTC, datetime

_TURNS = 200_000


def describe() -> str:
    """Return the time, the machine, how fast it is at the moment, and how busy."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    speed = f"Python {platform.python_version()} adds in {addition_ns():.0f} ns"
    return f"{now}, {os.cpu_count()} cores, {speed}, load average {os.getloadavg()[0]:.1f}"


def addition_ns() -> float:
    """Return the least time a turn of a loop that adds took: a yardstick between machines, and between runs."""
    loop = f"for number in range({_TURNS}): total += number"
    return min(timeit.repeat(loop, "total = 0", number=1, repeat=9)) / _TURNS * 1e9
