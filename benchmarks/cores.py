"""A core for the process under measurement alone."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.usage import tree


@contextmanager
def own_core(pid: int, others: Sequence[int]) -> Generator[None]:
    """Keep a process and all that it started on one core, and the other processes off it; not on a single core.

    Otherwise the scheduler moves it to wherever Redis or the provider woke it, beside whom its caches are cold: that
    depends on what else this machine runs, and costs one that has more threads more.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        yield
        return
    try:
        _keep_on(cores[-1:], tree(pid))
        _keep_on(cores[:-1], others)
        yield
    finally:
        _keep_on(cores, others)


def _keep_on(cores: Collection[int], pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)
