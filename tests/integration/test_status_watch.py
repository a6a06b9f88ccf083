"""`status` and `status --watch` as an operator has them: in a terminal, in a pipe, without Redis for a while."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import redis

from tests.support.command import ROOT, call, environment
from tests.support.dead import Undertaker
from tests.support.wait import until
from worker.embedded import EmbeddedValkey

WATCH = [sys.executable, "-m", "worker", "status", "--watch", "--interval", "0.2"]


class Screen:
    """A terminal of 100 columns with the command in it."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self._seen = b""

    def shows(self, *pieces: str) -> None:
        """Wait until all of this was drawn since the last call."""
        self._seen = b""
        until(lambda: self._read() and all(piece.encode() in self._seen for piece in pieces), pause=0.0)

    def ends(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the status, and what is left in the terminal."""
        self.process.send_signal(number)
        self._seen = b""
        while self._read():
            pass
        return self.process.wait(30), self._seen.decode()

    def _read(self) -> bool:
        try:
            self._seen += (found := os.read(self._terminal, 65536))
        except OSError:  # the command ended
            return False
        return bool(found)


@contextmanager
def watching(url: str) -> Generator[Screen]:
    """Run the command in a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    env = environment(url, TERM="xterm-256color", COLUMNS="", LINES="")
    with subprocess.Popen(WATCH, env=env, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            yield Screen(process, ours)
        finally:
            process.kill()
            os.close(ours)


def test_it_is_kept_open_while_redis_comes_and_goes(valkey_server: EmbeddedValkey) -> None:
    """It draws on a screen of its own, says that Redis is away, goes on; SIGTERM leaves the terminal as it was."""
    Undertaker(valkey_server.port).send("tencent", 1234)
    with watching(valkey_server.url) as screen:
        screen.shows("\x1b[?1049h", "1,234", "running", "out/s")
        valkey_server.kill()
        screen.shows("redis unreachable", "as of", "is unreachable", "1,234")
        valkey_server.start()
        screen.shows("no worker is alive", "1,234")
        status, left = screen.ends(signal.SIGTERM)
    assert status == 0
    after = left.partition("\x1b[?1049l")[2]
    assert "1,234" in after
    assert "Traceback" not in left


def test_in_a_pipe_it_writes_plainly(valkey_server: EmbeddedValkey) -> None:
    """One look under the other, at once, with nothing that steers a terminal."""
    env = environment(valkey_server.url)
    with subprocess.Popen(WATCH, env=env, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while sum(line.endswith(" UTC") for line in lines) < 3:
            lines.append(process.stdout.readline().decode().rstrip("\n"))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    text = "\n".join(lines) + rest.decode()
    assert "\x1b" not in text
    assert "delivered/s" in text


def test_one_look_has_no_pace(valkey: redis.Redis) -> None:
    """What only a second look can tell is left out of the table and null in the JSON."""
    url = f"redis://127.0.0.1:{valkey.connection_pool.connection_kwargs['port']}/0"
    assert "delivered/s" not in call(url, "status").out
    [tencent, _] = call(url, "status", "--json").json["accounts"]
    assert (tencent["delivered_per_second"], tencent["rate_use"], tencent["delivered_trail"]) == (
        None,
        None,
        [],
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--interval", "2"), "--interval needs --watch"),
        (("--watch", "--interval", "0"), "'--interval': Input should be"),
        (("--watch", "--interval", "nan"), "'--interval': Input should be"),
        (("--watch", "--interval", "soon"), "'--interval': Input should be"),
    ],
)
def test_a_wrong_interval_is_status_2(arguments: tuple[str, ...], said: str) -> None:
    """It is said, and nothing is asked of Redis."""
    ran = call("redis://127.0.0.1:1/0", "status", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
