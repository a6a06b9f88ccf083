"""How many files this process may have open, and how many requests that leaves room for."""

from __future__ import annotations

import contextlib
import resource
from dataclasses import dataclass
from pathlib import Path

RESERVED = 48
"""Descriptors for anything but requests: Redis, DNS look-ups, clients of the metrics port, and a few to spare."""

OPEN_AT_START = 32
"""Descriptors that a process which just began has open, where the system doesn't say."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The limit that is in force, and how many requests may be under way at once."""

    limit: int
    concurrency: int


def make_room(concurrency: int, hosts: int) -> Descriptors:
    """Raise the soft limit for `concurrency` requests, at most to the hard one; return how many requests fit.

    Connections to one host may be idle while as many are in use to another.
    """
    beside = _open() + RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = beside + concurrency * max(1, hosts)
    if _less(soft, wanted):
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # some systems have a lower limit of their own
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Descriptors(soft, fitting(concurrency, soft, beside))


def fitting(concurrency: int, limit: int, beside: int) -> int:
    """Return how many requests fit under a limit of descriptors, of which `beside` are for other things; one at least.

    If `beside` alone exceeds it, half of the remaining descriptors are for requests.
    """
    if not _less(limit, beside + concurrency):
        return concurrency
    return max(1, limit - beside, (limit - beside + RESERVED) // 2)


def _less(limit: int, wanted: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < wanted


def _open() -> int:
    """Return how many descriptors are open."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return OPEN_AT_START
