import io
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from config.logging import configure, log_event
from config.output import Output
from tests.support.wait import until

logger = logging.getLogger("otpreport.test")

pytestmark = pytest.mark.usefixtures("restored_logging")


class Pipe:
    """A pipe: `file` is its writing end, and is full once `fill` was called."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        self.file = os.fdopen(writer, "w", encoding="utf-8")

    def fill(self) -> None:
        """Write until no byte more goes in; the line ends there."""
        number = self.file.fileno()
        os.set_blocking(number, False)
        with suppress(BlockingIOError):
            while True:
                os.write(number, b"x")
        os.set_blocking(number, True)

    def read(self) -> str:
        """Return what comes until nothing more comes for a moment."""
        found = b""
        while select.select([self._reader], [], [], 0.5)[0]:
            found += os.read(self._reader, 1 << 16)
        return found.decode()

    def close(self) -> None:
        """Close both ends."""
        self.end_reader()
        with suppress(OSError):
            self.file.close()

    def end_reader(self) -> None:
        """Go away as a reader does."""
        with suppress(OSError):
            os.close(self._reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Yield a pipe that is closed in the end."""
    made = Pipe()
    yield made
    made.close()


def drain(output: Output, seconds: float = 10.0) -> None:
    """Wait for all that was written."""
    output.drain(time.monotonic() + seconds)


def test_lines_come_in_order(pipe: Pipe) -> None:
    """What is written comes out as it was, in order."""
    output = Output(pipe.file)
    lines = [f"line {number} ü \ud800\n" for number in range(1000)]
    for line in lines:
        output.write(line)
    drain(output)
    assert pipe.read() == "".join(lines).replace("\ud800", "\\ud800")
    assert output.dropped == 0


def test_a_full_pipe_holds_nobody_up(pipe: Pipe) -> None:
    """With nobody reading, writing goes on at once; what finds the queue full is dropped, counted and told later."""
    output = Output(pipe.file, lines=100)
    configure("info", "json", output)  # type: ignore[arg-type]  # a text stream, if none of typing's
    pipe.fill()
    for number in range(1000):
        log_event(logger, logging.INFO, "line", number=number)
    until(lambda: output.dropped >= 800)
    first = pipe.read().lstrip("x")
    drain(output)
    lines = [json.loads(line) for line in (first + pipe.read()).splitlines()]
    numbers = [line["number"] for line in lines if line["event"] == "line"]
    assert numbers == sorted(numbers)
    assert numbers[:100] == list(range(100))
    assert len(numbers) + output.dropped == 1000
    assert sum(line["lines"] for line in lines if line["event"] == "log lines dropped") == output.dropped


def test_a_direct_stream_waits(pipe: Pipe) -> None:
    """As a control: without the queue, who logs waits for the reader."""
    configure("info", "json", pipe.file)
    pipe.fill()
    done = threading.Event()

    def say() -> None:
        log_event(logger, logging.INFO, "line")
        done.set()

    threading.Thread(target=say, daemon=True).start()
    assert not done.wait(0.5)
    pipe.read()
    assert done.wait(10)


def test_the_queue_is_bounded_in_bytes(pipe: Pipe) -> None:
    """Long lines are dropped before there are many of them."""
    output = Output(pipe.file, size=10_000)
    pipe.fill()
    for _ in range(20):
        output.write("y" * 999 + "\n")
    assert output.dropped == 10
    pipe.read()
    drain(output)


def test_the_end_waits_no_longer_than_told(pipe: Pipe) -> None:
    """With nobody reading, draining ends with what is left unwritten."""
    output = Output(pipe.file)
    pipe.fill()
    output.write("left\n")
    began = time.monotonic()
    drain(output, 0.2)
    assert 0.2 <= time.monotonic() - began < 5 * 0.2 + 1
    pipe.read()


def test_lines_of_two_threads_do_not_mix(pipe: Pipe) -> None:
    """What begins a line waits for its end, or for a flush."""
    output = Output(pipe.file)
    output.write("be")
    other = threading.Thread(target=lambda: output.write("other\n"))
    other.start()
    other.join()
    output.write("gun\nnot ended")
    drain(output)
    assert pipe.read() == "other\nbegun\nnot ended"


def test_whoever_is_gone_is_no_fault() -> None:
    """A reader that is gone costs lines, which are counted, and nothing else."""
    pipe = Pipe()
    output = Output(pipe.file)
    pipe.end_reader()
    output.write("one\n")
    output.write("two\n")
    until(lambda: output.dropped == 2)
    pipe.close()


def test_a_shared_file_that_does_not_wait_is_waited_for(pipe: Pipe) -> None:
    """Who shares the file may have made it non-blocking: nothing is lost then."""
    output = Output(pipe.file)
    pipe.fill()
    os.set_blocking(pipe.file.fileno(), False)
    output.write("told\n")
    assert pipe.read().endswith("told\n")
    assert output.dropped == 0


def test_a_fork_writes_nothing_twice(pipe: Pipe) -> None:
    """A child writes its own lines, and not what waited in its parent."""
    output = Output(pipe.file)
    pipe.fill()
    output.write("parent\n")
    child = os.fork()
    if not child:
        output.write("child\n")
        drain(output)
        os._exit(0)
    read = pipe.read()
    os.waitpid(child, 0)
    drain(output)
    read += pipe.read()
    assert sorted(read.lstrip("x").split()) == ["child", "parent"]


END = """
import atexit, logging, sys, warnings
from config.logging import configure, log_event
from config.output import take_over
take_over()
configure("info", "json")
log_event(logging.getLogger("a"), logging.INFO, "logged", text="a" * 10_000)
print("printed")
sys.__stdout__.write("banner\\n")
warnings.warn("warned")
raise ValueError("last words")
"""


def run(*, blocked: bool) -> tuple[float, int, str, str]:
    """Return how long that program took, its status, and what it wrote."""
    pipe = Pipe()
    if blocked:
        pipe.fill()
    began = time.monotonic()
    target = pipe.file if blocked else subprocess.PIPE
    ended = subprocess.run(
        [sys.executable, "-c", END], stdout=target, stderr=target, timeout=60, text=True, check=False
    )
    took = time.monotonic() - began
    pipe.close()
    return took, ended.returncode, ended.stdout or "", ended.stderr or ""


def test_last_words_are_written() -> None:
    """What is logged, printed, warned of, and the traceback at the end: all are there when the process has ended."""
    _, status, out, err = run(blocked=False)
    assert (status, out) == (1, "printed\nbanner\n")
    assert '"event":"logged"' in err
    assert "warned" in err
    assert err.endswith("ValueError: last words\n")


def test_a_process_ends_though_nobody_reads() -> None:
    """With both outputs full it ends all the same, some second later."""
    took, status, *_ = run(blocked=True)
    assert status == 1
    assert took < 5 * 1.0 + 5


def test_it_is_a_text_stream(pipe: Pipe) -> None:
    """It says of itself what the stream beneath says."""
    output = Output(pipe.file)
    assert isinstance(output, io.TextIOBase)
    assert output.writable()
    assert not output.isatty()
    assert output.fileno() == pipe.file.fileno()
