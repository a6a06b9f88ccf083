"""`send FILE`: all of it once, whatever ends it in between."""

import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.admin import admin
from tests.support.command import ROOT, call, environment, run
from tests.support.events import event_of
from tests.support.wait import until
from worker.embedded import EmbeddedValkey

DAY = 86_400_000


def write(path: Path, count: int, *, first: int = 0, account: str = "tencent", age_ms: int = 1000) -> Path:
    """Add events to a file of JSON lines."""
    at = int(time.time() * 1000) - age_ms
    with path.open("a") as file:
        for number in range(first, first + count):
            line = {"account": account, "message_id": f"m-{number}", "occurred_at": at}
            file.write(json.dumps(line) + "\n")
    return path


def queued(client: redis.Redis, account: str = "tencent") -> list[str]:
    """Return the message ids that wait, the oldest first."""
    raw: list[bytes] = admin(client).lrange(f"otpreport.{account}", 0, -1)
    return [event_of(one).message_id for one in reversed(raw)]


def audit(url: str) -> list[dict[str, Any]]:
    """Return what was written down, the oldest first."""
    found: list[dict[str, Any]] = call(url, "audit", "--json").json["audit"]
    return found[::-1]


def test_send(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """Every event is queued in its order, the audit tells of it, and a second run has nothing to do."""
    file = write(tmp_path / "events.jsonl", 450)
    write(file, 3, first=900, account="alibaba")
    ran = call(url, "send", str(file), "--rate", "100000", "--yes", "--json", "--by", "me")
    assert ran.status == 0, ran.err
    assert ran.json == {
        "events": 453, "sent": 453, "too_old": 0, "accounts": {"tencent": 450, "alibaba": 3}, "dry_run": False,
    }  # fmt: skip
    assert queued(valkey) == [f"m-{number}" for number in range(450)]
    assert len(queued(valkey, "alibaba")) == 3
    began, ended = audit(url)
    assert (began["action"], began["events"], began["by"], began["file"]) == ("send", 453, "me", str(file))
    assert (ended["began"], ended["sent"], ended["result"]) == (began["id"], 453, "done")
    again = call(url, "send", str(file), "--yes")
    assert again.status == 0
    assert "lines 1 to 453 are left out: they were sent before" in again.out
    assert "nothing to send: the file holds no further event" in again.out
    write(file, 2, first=1000)
    assert call(url, "send", str(file), "--yes", "--json").json["sent"] == 2
    assert queued(valkey)[-2:] == ["m-1000", "m-1001"]


def test_dry_run(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """A dry run shows the first events, the counts and the time it takes, and changes nothing."""
    file = write(tmp_path / "events.jsonl", 400)
    write(file, 7, first=900, age_ms=2 * DAY)
    ran = call(url, "send", str(file), "--dry-run", "--rate", "200")
    assert ran.status == 0
    assert "line 1: account=tencent message_id=m-0 " in ran.out
    assert "400 events at 200/s: 2.0s" in ran.out
    assert any(line.split()[:3] == ["tencent", "407", "7"] for line in ran.out.splitlines())
    assert not admin(valkey).keys("*")
    assert list(tmp_path.iterdir()) == [file]


def test_too_old(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """What a worker would only make a dead letter of is not sent."""
    file = write(tmp_path / "events.jsonl", 5, age_ms=2 * DAY)
    write(file, 2, first=10)
    write(file, 1, first=20, age_ms=2 * DAY)
    ran = call(url, "send", str(file), "--yes", "--json").json
    assert (ran["sent"], ran["too_old"]) == (2, 6)
    assert queued(valkey) == ["m-10", "m-11"]


def test_faulty_lines(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """With a faulty line nothing is sent; each is named, ten at most."""
    file = write(tmp_path / "events.jsonl", 3)
    write(file, 30, account="tencnet")
    ran = call(url, "send", str(file), "--yes")
    assert ran.status == 2
    lines = ran.err.splitlines()
    assert lines[0] == "line 4: account tencnet: no such account: did you mean tencent?"
    assert lines[-2:] == ["and 20 more lines", "nothing was sent"]
    assert len(lines) == 12
    assert not admin(valkey).keys("*")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_interrupted(tmp_path: Path, url: str, valkey: redis.Redis, how: signal.Signals) -> None:
    """Killed amid it, it goes on with the first line that was not sent: none is lost, at most one write repeated."""
    file = write(tmp_path / "events.jsonl", 2000)
    command = [sys.executable, "-m", "otpreport", "send", str(file), "--yes", "--rate", "1000"]
    process = subprocess.Popen(command, env=environment(url), cwd=ROOT, stdout=subprocess.DEVNULL)
    until(lambda: len(queued(valkey)) >= 400)
    process.send_signal(how)
    process.wait(20)
    before = len(queued(valkey))
    assert before < 2000
    ran = call(url, "send", str(file), "--yes", "--rate", "1e6")
    assert ran.status == 0, ran.err
    ids = queued(valkey)
    assert set(ids) == {f"m-{number}" for number in range(2000)}
    assert len(ids) - 2000 <= 200
    first = [] if how is signal.SIGKILL else ["interrupted"]
    assert [one["result"] for one in audit(url) if "result" in one] == [*first, "done"]


def test_one_process_at_a_time(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """A file that another process sends is left to it."""
    file = write(tmp_path / "events.jsonl", 10)
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        ran = call(url, "send", str(file), "--yes")
        assert (ran.status, ran.line) == (1, f"{file} is being sent by another process")
    assert not queued(valkey)
    assert call(url, "send", str(file), "--yes").status == 0


def test_without_its_state(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """Negative control: where nothing keeps how far it came, all that was sent is sent again."""
    file = write(tmp_path / "events.jsonl", 10)
    for _ in range(2):
        assert call(url, "send", str(file), "--yes").status == 0
        Path(f"{file}.sent").unlink()
    assert len(queued(valkey)) == 20


def test_from_line(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """--from-line says where to start, whatever was sent before."""
    file = write(tmp_path / "events.jsonl", 10)
    assert call(url, "send", str(file), "--yes", "--from-line", "8").status == 0
    assert queued(valkey) == ["m-7", "m-8", "m-9"]


def test_changed_file(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """A file that has changed where it was sent already is refused, and so is one that went to another Redis."""
    file = write(tmp_path / "events.jsonl", 10)
    assert call(url, "send", str(file), "--yes").status == 0
    file.write_text(file.read_text().replace("m-3", "m-x"))
    ran = call(url, "send", str(file), "--yes")
    assert ran.status == 2
    assert ran.line.startswith("the file has changed in the 10 lines that were sent before")
    ran = call(url, "send", str(file), "--yes", env={"OTPREPORT_KEY_PREFIX": "other:"})
    assert ran.status == 2
    assert f"{file}.sent tells of another Redis" in ran.line
    assert len(queued(valkey)) == 10


@pytest.mark.parametrize("line", ["-1", "1e300", '"' + "9" * 5000 + '"', "[]"])
def test_a_state_that_is_none(tmp_path: Path, url: str, valkey: redis.Redis, line: str) -> None:
    """A line that no file has is named as what it is, and nothing is sent."""
    file = write(tmp_path / "events.jsonl", 3)
    assert call(url, "send", str(file), "--yes").status == 0
    kept = Path(f"{file}.sent")
    kept.write_text(kept.read_text().replace('"line":3', f'"line":{line}'))
    ran = call(url, "send", str(file), "--yes")
    assert (ran.status, ran.line) == (2, f"{kept} can't be read: move it away, and give --from-line")
    assert len(queued(valkey)) == 3


def test_standard_input(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """`-` reads CSV or JSON lines from standard input."""
    text = write(tmp_path / "events.jsonl", 3).read_text()
    assert run(url, "send", "-", "--yes", answer=text).status == 0
    assert queued(valkey) == ["m-0", "m-1", "m-2"]
    ran = run(url, "send", "-", answer=text)
    assert (ran.status, ran.line) == (2, "no terminal to confirm on: add --yes to send")


def test_state_that_cannot_be_kept(tmp_path: Path, url: str, valkey: redis.Redis) -> None:
    """Where it can't keep how far it came, it says so and sends nothing."""
    file = write(tmp_path / "events.jsonl", 3)
    (tmp_path / "events.jsonl.sent.new").mkdir()
    ran = call(url, "send", str(file), "--yes")
    assert ran.status == 2
    assert ran.err.startswith(f"can't write {file}.sent, which keeps how far it came: ")
    assert not queued(valkey)


def test_wrong_file(tmp_path: Path, url: str) -> None:
    """A file that can't be read is named."""
    assert (
        call(url, "send", str(tmp_path / "none"), "--yes").line
        == f"{tmp_path}/none: No such file or directory"
    )
    assert call(url, "send", str(tmp_path), "--yes").line == f"{tmp_path}: Is a directory"


def test_redis_restarts(tmp_path: Path) -> None:
    """A Redis that is away for a while delays it, and loses nothing."""
    file = write(tmp_path / "events.jsonl", 1500)
    with EmbeddedValkey(tmp_path / "valkey") as server, redis.Redis(port=server.port) as client:
        command = [sys.executable, "-m", "otpreport", "send", str(file), "--yes", "--rate", "1000"]
        process = subprocess.Popen(command, env=environment(server.url), cwd=ROOT, stderr=subprocess.DEVNULL)
        until(lambda: len(queued(client)) >= 300)
        server.kill()
        server.start()
        assert process.wait(60) == 0
        assert set(queued(client)) == {f"m-{number}" for number in range(1500)}


def test_redis_is_full(tmp_path: Path) -> None:
    """What a full Redis refuses is sent once it has room again, in its order."""
    file = write(tmp_path / "events.jsonl", 600)
    with EmbeddedValkey(tmp_path / "valkey") as server, redis.Redis(port=server.port) as client:
        admin(client).config_set("maxmemory", 1)
        command = [sys.executable, "-m", "otpreport", "send", str(file), "--yes", "--rate", "1000"]
        with subprocess.Popen(
            command, env=environment(server.url), cwd=ROOT, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            while "redis takes no events, trying" not in process.stderr.readline():
                pass
            admin(client).config_set("maxmemory", 0)
            assert process.wait(60) == 0
        assert queued(client) == [f"m-{number}" for number in range(600)]
