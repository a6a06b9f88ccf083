"""Who runs where while something is measured."""

import os
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager

from benchmarks.cores import own_core
from benchmarks.usage import tree


@contextmanager
def family_of_two() -> Generator[int]:
    """Run a process that starts another one."""
    with subprocess.Popen(["sh", "-c", "sleep 60; exit"]) as process:
        while len(tree(process.pid)) < 2:
            time.sleep(0.01)
        yield process.pid
        for pid in tree(process.pid):
            os.kill(pid, 9)


def test_a_process_has_a_core_for_itself() -> None:
    """It and what it started are on one core, the others off it; on a single core nobody is moved."""
    everywhere = os.sched_getaffinity(0)
    with family_of_two() as measured, family_of_two() as other:
        with own_core(measured, [other, os.getpid()]):
            own, rest = os.sched_getaffinity(measured), os.sched_getaffinity(other)
            assert all(os.sched_getaffinity(pid) == own for pid in tree(measured))
            assert os.sched_getaffinity(0) == rest
            if len(everywhere) > 1:
                assert (len(own), own & rest) == (1, set())
        assert os.sched_getaffinity(other) == os.sched_getaffinity(0) == everywhere
