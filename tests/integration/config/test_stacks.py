"""Stacks are written while no Python code runs, and into a full pipe they block nobody."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

import pytest

BUSY = """
import os, sys
from config import stacks
if "direct" in sys.argv:
    stacks.stat.S_ISFIFO = lambda mode: False
stacks.enable()
def count():
    os.write(1, b"ready")
    sum(range(int(sys.argv[1])))
count()
"""


@contextmanager
def busy(count: int, *arguments: str, stderr: int) -> Generator[subprocess.Popen[bytes]]:
    """Run a program that counts in C, where no handler written in Python could run."""
    program = [sys.executable, "-c", BUSY, str(count), *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=stderr) as process:
        try:
            assert process.stdout
            assert process.stdout.read(5) == b"ready"
            yield process
        finally:
            process.kill()


def test_busy() -> None:
    """Asked while the interpreter is busy elsewhere, it says where, and goes on."""
    with busy(10**12, stderr=subprocess.PIPE) as process:
        process.send_signal(signal.SIGUSR2)
        assert process.stderr
        assert any(b"in count" in line for line in process.stderr)
        assert process.poll() is None


@pytest.mark.parametrize("way", ["anew", "direct"])
def test_full(way: str) -> None:
    """With nobody reading it goes on to its end; written to standard error as it is, the stacks would stop it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)
    try:
        with busy(10**7, way, stderr=writer) as process:
            process.send_signal(signal.SIGUSR2)
            if way == "anew":
                assert process.wait(60) == 0
            else:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(3)
    finally:
        os.close(reader)
        os.close(writer)
