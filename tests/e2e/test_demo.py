"""The demo: the main job with one command."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from providers import REGISTRY
from tests.support.wait import until
from tests.support.worker_process import ROOT
from worker.demo import story
from worker.demo.main import DEADLINE
from worker.demo.processes import Processes
from worker.demo.story_display import Display

IN_A_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Become the foreground process of the terminal at standard input, then the program that is named."""

STOPS = 1.0
"""Seconds within which Ctrl-C ends it."""


class Demo:
    """A demo in a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self.text = ""

    def read_until(self, words: str) -> None:
        """Read until it has printed these words, or ended."""
        while words not in self.text:
            try:
                read = os.read(self._terminal, 65536).decode(errors="replace")
            except OSError:  # it has ended
                break
            self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read).replace("\r\n", "\n")
        assert words in self.text, self.text

    def ctrl_c(self) -> float:
        """Type Ctrl-C, which reaches every process of the terminal's foreground group; return how long it took."""
        began = time.monotonic()
        os.write(self._terminal, b"\x03")
        self.read_until("Stopped.")
        self.process.wait(30)
        return time.monotonic() - began


@contextmanager
def demo(folder: Path, *arguments: str) -> Generator[Demo]:
    """Run the demo in a terminal, with its temporary files in `folder`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
    environment |= {"TMPDIR": str(folder), "COLUMNS": "100", "XDG_STATE_HOME": str(folder / "state")}
    leader, follower = os.openpty()
    command = [sys.executable, "-c", IN_A_TERMINAL, sys.executable, "-m", "worker", "demo", *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    try:
        yield Demo(process, leader)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
        os.close(leader)


@pytest.mark.timeout(2 * DEADLINE)
def test_demo(tmp_path: Path) -> None:
    """The demo accounts for every event and says what is meant to go wrong; then it takes an event of one's own."""
    with demo(tmp_path, "--keep") as running:
        running.read_until("status --watch")
        assert "Every event is accounted for" in running.text
        assert "misbehave on purpose" in running.text
        rows = dict(re.findall(r"^ *(\S.*?)  +(\S.*)$", running.text, re.MULTILINE))
        enqueued = [int(number) for number in rows["enqueued"].split()]
        delivered = [int(number) for number in rows["delivered"].split()]
        assert sum(enqueued) > 3000
        assert all(0 < done <= sent for done, sent in zip(delivered, enqueued, strict=True))
        pasted = re.search(r"^(\S+python\S* <<'END'\n.*\nEND)$", running.text, re.MULTILINE | re.DOTALL)
        look = re.search(r"^curl -s '(http://\S+)'$", running.text, re.MULTILINE)
        assert pasted
        assert look
        state = tmp_path / "its own state"

        def paste() -> str:
            """Report it, as often as a slow machine spools it; it is sent once."""
            return subprocess.run(
                ["sh", "-c", pasted[1]],
                cwd=ROOT,
                env=os.environ | {"XDG_STATE_HOME": str(state)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout

        assert "Receipt(status='" in paste()
        assert not state.exists(), "a demo leaves no spool behind"
        until(lambda: '"message_id":"my-first"' in httpx.get(look[1]).text or not paste())
        assert running.ctrl_c() < 5 * STOPS
    assert running.process.returncode == 0
    assert not list(tmp_path.glob("otpreport-demo-*"))


@pytest.mark.timeout(2 * DEADLINE)
def test_all_providers(tmp_path: Path) -> None:
    """With all providers the ledger of each accounts for every event of its account."""
    with demo(tmp_path, "--providers", "all") as running:
        running.read_until("Try next")
        assert "Every event is accounted for" in running.text
        for name in REGISTRY:
            line = re.search(rf"^ *{name} +(\d+) +(\d+) ", running.text, re.MULTILINE)
            assert line, running.text
            assert int(line[1]) >= int(line[2]) > 0
        running.process.wait(30)
    assert running.process.returncode == 0


STORY_BEGINS = {0: story.PLOT[0], 1: story.PLOT[33], 2: story.PLOT[40]}
"""Three seconds: usual traffic, pumping, its end."""


def test_the_story_in_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each OTP is counted, and reported once as what it was: verified, or not."""
    monkeypatch.setattr(story, "PLOT", STORY_BEGINS)
    monkeypatch.setattr(story, "END", 3)
    text = io.StringIO()
    with Processes(tmp_path, [story.ACCOUNT], story=True) as processes:
        verdict = story.play(processes, Display(Console(file=text)))
    assert verdict.faults == []
    assert "Somebody has SMS sent to Nigeria" in text.getvalue()


@pytest.mark.chaos
@pytest.mark.timeout(2 * DEADLINE)
def test_the_story(tmp_path: Path) -> None:
    """It rings for the country whose SMS do not arrive and for the one that is pumped, and for nothing else."""
    with demo(tmp_path, "--story") as running:
        running.read_until("alerts.yml")
        assert "Every OTP is accounted for" in running.text
        rung = set(re.findall(r"✖ (\w+) \((.*?)[,:]", running.text))
        assert {alert for alert, _ in rung} == {"OtpreportCountryConversionCollapsed", "OtpreportOtpsPumped"}
        running.process.wait(30)
    assert running.process.returncode == 0


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C in the middle ends it at once, without a line that sounds as if something were lost."""
    with demo(tmp_path) as running:
        running.read_until("in progress")
        children = (
            Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        )
        groups = {os.getpgid(int(child)) for child in children}
        assert len(groups) == 3, "Valkey, simulator and worker, each in a group of its own"
        assert os.getpgid(running.process.pid) not in groups
        assert running.ctrl_c() < 5 * STOPS
    assert running.process.returncode == 130
    after = running.text.partition("^C")[2]
    assert not re.search("dropped|refused|Error|Traceback|failed", after), after
    assert not list(tmp_path.glob("otpreport-demo-*"))


def test_a_server_that_ended_is_named(tmp_path: Path) -> None:
    """If Valkey ends, the demo says that, and why by Valkey's own words, not that nobody answers."""
    processes = Processes(tmp_path, ["tencent"])
    processes.valkey.start()
    assert processes.failed() is None
    os.kill(processes.valkey.pid, signal.SIGTERM)
    until(lambda: not processes.valkey.is_running())
    assert re.match("Valkey exited, the last line of its log: .*bye", str(processes.failed()))
