"""The dead-letter queue as an operator uses it: at whose word, how much of it, and how it is taken back."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from tasks.dead_letters import fate
from tasks.dead_letters.fate import FateReader, Fates
from tasks.dead_letters.letter import Letter
from tasks.dead_letters.store import DeadLetters, ReplayPace
from tasks.dead_letters.write import write
from tasks.dedupe import Fingerprint, Remembered
from tasks.delivery import Delivery, Leased, read
from tasks.keys import Keys
from tasks.memory import DeliveredMemory
from tasks.retry import Reason
from tasks.settlement import DELIVERED, Bury
from tests.support.admin import admin
from tests.support.command import ROOT, call, environment
from tests.support.dead import LOST, Death, Undertaker
from tests.support.leased import message
from tests.support.wait import until
from worker.cli import letters as reading
from worker.cli import purge
from worker.embedded import EmbeddedValkey


def audit(url: str) -> list[dict[str, Any]]:
    """Return what was written down, the oldest first."""
    found: list[dict[str, Any]] = call(url, "audit", "--json").json["audit"]
    return found[::-1]


def snapshot(client: redis.Redis) -> dict[bytes, bytes | None]:
    """Return everything that is in Redis."""
    keys: list[bytes] = admin(client).keys("*")
    return {key: client.dump(key) for key in keys}


WRONG = [
    (("dead", "replay", "--all", "--yes", "--share", "0"), "--share '0' is not a share of the rate"),
    (("dead", "replay", "--all", "--yes", "--share", "1.5"), "--share '1.5' is not a share of the rate"),
    (("dead", "replay", "--all", "--yes", "--share", "nan"), "--share 'nan' is not a share of the rate"),
    (
        ("dead", "replay", "--all", "--yes", "--share", "1e-320"),
        "--share '1e-320' is not a share of the rate",
    ),
    (("dead", "replay", "--all", "--yes", "--share", "much"), "--share 'much' is not a share of the rate"),
    (
        ("dead", "replay", "--account", "tencnet", "--yes"),
        "--account tencnet: no such account: did you mean tencent?",
    ),
    (("dead", "replay", "--all", "--yes", "--by", "a\nb"), r"--by 'a\nb' is not a name"),
    (("dead", "replay", "nonsense", "--yes"), "nonsense is not an id: an id looks like"),
    (("dead", "recall", "--yes"), "select the letters: ids, a filter such as --account or --code, or --all"),
    (("dead", "recall", "--all", "--json"), "--json needs --yes"),
    (
        ("dead", "purge", "--account", "zzz", "--yes"),
        "--account zzz: no such account: use one of alibaba, tencent",
    ),
    (("dead", "purge", "--reason", "old", "--yes"), "--reason old is unknown: use exhausted"),
    (
        ("dead", "purge", "--all", "--yes", "--export", "/nowhere/x"),
        "/nowhere/x can't be written: No such file",
    ),
    (
        ("dead", "purge", "--all", "--yes", "--export", "/etc/passwd"),
        "--export /etc/passwd: this file exists already",
    ),
    (("dead", "purge", "--all", "--json"), "--json needs --yes"),
    (("dead", "stats", "--by", "day"), "--by day is unknown: use account, reason, code, hour"),
    (("dead", "stats", "--by", ","), "--by is empty: name one or more of account"),
    (("dead", "stats", "--account", "tencnet"), "--account tencnet: no such account"),
    (("dead", "list", "--account", "\x1b[2J"), r"--account \x1b[2J: no such account"),
    (("dead", "show", "x"), "x is not an id"),
]


@pytest.mark.parametrize(("command", "said"), WRONG, ids=lambda value: " ".join(value)[:60])
def test_a_slip_is_one_line_and_status_2_and_changes_nothing(
    url: str, valkey: redis.Redis, undertaker: Undertaker, command: tuple[str, ...], said: str
) -> None:
    """Whatever is wrong is told before anything is touched or written down."""
    undertaker.bury("tencent", 2)
    before = snapshot(valkey)
    ran = call(url, *command)
    assert (ran.status, ran.line[: len(said)]) == (2, said)
    assert snapshot(valkey) == before


def test_a_replay_and_its_recall_are_written_down(url: str, undertaker: Undertaker) -> None:
    """Who, what, how many, at what share, and how it ended; both ends know each other."""
    undertaker.bury("tencent", 5)
    assert call(url, "dead", "replay", "--code", "Invalid*", "--share", "5%", "--yes").status == 0
    assert call(url, "dead", "recall", "--all", "--by", "on call", "--yes", "--json").json == {
        "recalled": 5,
        "left_not_waiting": 0,
        "not_found": [],
    }
    asked, done, recall, recalled = audit(url)
    assert (asked["action"], asked["letters"], asked["share"]) == ("replay", 5, 0.05)
    assert asked["filter"]["codes"] == ["Invalid*"]
    assert "@" in asked["by"]
    assert (done["action"], done["replayed"], done["result"], done["by"]) == (
        "replay-end",
        5,
        "done",
        asked["by"],
    )
    assert done["began"] == asked["id"]
    assert asked["id"] not in call(url, "audit").out, "a person sees the beginning above it"
    assert (recall["action"], recall["by"], recalled["recalled"]) == ("recall", "on call", 5)
    shown = call(url, "audit", "--count", "1").out
    assert "recall-end" in shown
    assert "replay" not in shown


def test_an_audit_that_cannot_be_written_keeps_nobody_from_acting(
    url: str, valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """A key of a wrong type there is named, and what it would hold is logged; `audit`, status and check name it."""
    undertaker.bury("tencent", 5)
    valkey.set("otpreport:audit", "not a stream")
    for command, action in (
        (("accounts", "pause", "tencent", "--reason", "why", "--by", "kim"), "pause"),
        (("accounts", "rate", "tencent", "100"), "rate"),
        (("accounts", "resume", "tencent"), "resume"),
        (("dead", "replay", "--all", "--yes"), "replay"),
        (("dead", "recall", "--all", "--yes"), "recall"),
        (("dead", "purge", "--all", "--yes"), "purge"),
    ):
        ran = call(url, *command)
        assert ran.status == 0, ran.err
        said = [orjson.loads(line) for line in ran.err.splitlines() if "audit write failed" in line]
        assert said[0]["action"] == action
        assert all("WRONGTYPE" in one["reason"] and "otpreport:audit" in one["reason"] for one in said)
    assert Keys().audit in call(url, "status").out
    assert Keys().audit in call(url, "check").out
    assert Keys().audit in call(url, "audit").line
    assert valkey.hget(Keys().books, "tencent:purged") == b"5"


def test_nothing_to_do_is_not_written_down(url: str) -> None:
    """The audit is of changes."""
    assert call(url, "dead", "replay", "--all", "--yes").status == 0
    assert call(url, "dead", "purge", "--all", "--yes").status == 0
    assert audit(url) == []
    assert call(url, "audit").out == "no operator has changed anything yet\n"


def test_progress_says_how_far_it_is(url: str, valkey: redis.Redis, undertaker: Undertaker) -> None:
    """How many wait, at what rate, for how long, and why not at all."""
    assert call(url, "dead", "progress").out == "no dead letters are queued for replay\n"
    undertaker.bury("tencent", 100)
    ran = call(url, "dead", "replay", "--all", "--yes", "--share", "0.05")
    assert "tencent: at most 50/s below live traffic, 2.0s at best" in ran.out
    valkey.hset(Keys().account("tencent"), "state", "held")
    undertaker.bury("alibaba", 1)
    [tencent] = call(url, "dead", "progress", "--json").json["replays"]
    assert tencent == {
        "account": "tencent",
        "state": "paused",
        "waiting": 100,
        "share": 0.05,
        "rate": 50.0,
        "seconds": 2.0,
    }
    ran = call(url, "dead", "replay", "--account", "tencent", "--yes")
    assert (ran.status, "nothing to replay" in ran.out) == (0, True)
    assert call(url, "dead", "progress").out.splitlines()[1].split()[:5] == [
        "tencent",
        "paused",
        "100",
        "0.05",
        "50",
    ]
    assert "100 queued for replay" in call(url, "dead", "stats").out


def test_a_killed_replay_is_gone_on_with(url: str, valkey: redis.Redis, undertaker: Undertaker) -> None:
    """SIGKILL amid it: the same command takes the rest, and the audit shows a start without an end."""
    undertaker.bury("tencent", 4000)
    waiting = Keys().replays("tencent")
    command = [sys.executable, "-c", SLOW, "dead", "replay", "--all", "--yes"]
    with subprocess.Popen(command, env=environment(url), cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        until(lambda: valkey.zcard(waiting) > 0, deadline=30)
        process.send_signal(signal.SIGKILL)
    first = valkey.zcard(waiting)
    assert 0 < first < 4000
    ran = call(url, "dead", "replay", "--all", "--yes", "--json").json
    assert (ran["replayed"], ran["left_waiting"]) == (4000 - first, first)
    assert valkey.zcard(waiting) == 4000
    assert [entry["action"] for entry in audit(url)] == ["replay", "replay", "replay-end"]


SLOW = """
import sys, time
import tasks.dead_letters.store as module
ask = module.DeadLetters.replay
def slowly(self, *some):
    for batch in ask(self, *some):
        yield batch
        time.sleep(0.5)
module.DeadLetters.replay = slowly
sys.argv = ["worker", *sys.argv[1:]]
from worker.cli.app import main
main()
"""
"""The command, with half a second between two batches."""


def test_an_interrupted_replay_says_so(url: str, valkey: redis.Redis, undertaker: Undertaker) -> None:
    """Ctrl-C amid it is written down with how far it came."""
    undertaker.bury("tencent", 1000)
    command = [sys.executable, "-c", SLOW, "dead", "replay", "--all", "--yes"]
    with subprocess.Popen(
        command, env=environment(url), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        until(lambda: valkey.zcard(Keys().replays("tencent")) > 0, deadline=30)
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    end = audit(url)[-1]
    assert (end["action"], end["result"], end["of"]) == ("replay-end", "interrupted", 1000)
    assert end["replayed"] < 1000


def test_stats_by_hour(url: str, valkey: redis.Redis, undertaker: Undertaker) -> None:
    """Hour by hour, and only by what was asked for."""
    ids = undertaker.bury("tencent", 3) + undertaker.bury("alibaba", 1, Death(attempts=(LOST,)))
    day = 1_777_636_800_000  # 2026-05-01T12:00Z
    for number, id_ in enumerate(ids):
        valkey.zadd(Keys().dead_index(id_.partition(":")[0]), {id_: day + number % 2 * 3_600_000})
    record = call(url, "dead", "stats", "--by", "hour,account", "--json").json
    groups = [(g["hour"], g["account"], g["dead_letters"]) for g in record["groups"]]
    assert groups == [
        ("2026-05-01T12:00Z", "tencent", 2),
        ("2026-05-01T13:00Z", "alibaba", 1),
        ("2026-05-01T13:00Z", "tencent", 1),
    ]
    assert (record["ungrouped"], record["in_doubt"]) == (0, 1)
    [group] = call(url, "dead", "stats", "--by", "reason", "--json").json["groups"]
    assert (group["reason"], group["dead_letters"], "account" in group) == ("exhausted", 4, False)
    assert "2026-05-01T12:00Z" in call(url, "dead", "stats", "--by", "hour").out


def test_purge_exports_first(url: str, valkey: redis.Redis, undertaker: Undertaker, tmp_path: Path) -> None:
    """Every letter that is deleted is in the file before, with its message."""
    undertaker.bury("tencent", 250)
    undertaker.bury("tencent", 2, Death(Reason.EXPIRED, ()))
    file = tmp_path / "old.jsonl"
    ran = call(url, "dead", "purge", "--reason", "exhausted", "--export", str(file), "--yes", "--json")
    assert ran.json == {"purged": 250, "exported": 250, "left_waiting": 0, "not_found": []}
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert len({line["id"] for line in lines}) == 250
    assert all("raw" in line and line["reason"] == "exhausted" for line in lines)
    begun, ended = audit(url)
    assert (begun["export"], begun["letters"], ended["purged"]) == (str(file), 250, 250)
    again = call(url, "dead", "purge", "--all", "--export", str(file), "--yes")
    assert again.status == 2
    assert valkey.hlen(Keys().dead("tencent")) == 2


def test_what_waits_to_be_sent_again_is_not_purged(
    url: str, valkey: redis.Redis, undertaker: Undertaker, tmp_path: Path
) -> None:
    """Two operators at once: the wish to send goes first, until it is recalled."""
    first, *_ = undertaker.bury("tencent", 3)
    assert call(url, "dead", "replay", first, "--yes").status == 0
    file = tmp_path / "old.jsonl"
    ran = call(url, "dead", "purge", "--all", "--export", str(file), "--yes", "--json")
    assert ran.json == {"purged": 2, "exported": 2, "left_waiting": 1, "not_found": []}
    assert len(file.read_bytes().splitlines()) == 2
    ran = call(url, "dead", "purge", first, "--yes")
    assert (ran.status, "skipped: 1 queued for replay" in ran.out) == (1, True)
    assert call(url, "dead", "recall", first, "--yes").status == 0
    assert call(url, "dead", "purge", first, "--yes").status == 0
    assert valkey.hlen(Keys().dead("tencent")) == 0


def test_what_is_recalled_after_the_export_is_not_purged(
    url: str, valkey: redis.Redis, undertaker: Undertaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is deleted is in the file, though another operator takes a replay back right after it was written."""
    first, *others = undertaker.bury("tencent", 3)
    assert call(url, "dead", "replay", first, "--yes").status == 0
    file = tmp_path / "old.jsonl"
    write = reading.write_letters

    def and_recall(letters: Iterable[Letter], output: Path | None) -> int:
        written = write(letters, output)
        assert valkey.zrem(Keys().replays("tencent"), first) == 1
        return written

    monkeypatch.setattr(purge, "write_letters", and_recall)
    ran = call(url, "dead", "purge", "--all", "--export", str(file), "--yes", "--json")
    assert ran.json == {"purged": 2, "exported": 2, "left_waiting": 1, "not_found": []}
    assert {orjson.loads(line)["id"] for line in file.read_bytes().splitlines()} == set(others)
    assert valkey.hkeys(Keys().dead("tencent")) == [first.encode()]


def test_one_can_wait_until_it_is_done(url: str, undertaker: Undertaker) -> None:
    """The command ends when the last letter is gone, whoever took it."""
    undertaker.bury("tencent", 3)
    assert call(url, "dead", "replay", "--all", "--yes").status == 0
    command = [sys.executable, "-m", "worker", "dead", "progress", "--wait", "--json"]
    with subprocess.Popen(command, env=environment(url), cwd=ROOT, stdout=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert len(undertaker.lease("tencent", 3)) == 3
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, orjson.loads(out)) == (0, {"replays": []})


def test_prose_is_not_among_json(url: str, valkey: redis.Redis, undertaker: Undertaker) -> None:
    """A script that waits and is interrupted finds JSON on stdout, what a person shall know is on stderr."""
    undertaker.bury("tencent", 3)
    command = [sys.executable, "-m", "worker", "dead", "replay", "--all", "--yes", "--json", "--wait"]
    with subprocess.Popen(
        command,
        env=environment(url) | {"PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        until(lambda: valkey.zcard(Keys().replays("tencent")) == 3)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
    assert (orjson.loads(out)["replayed"], b"the replay continues" in error) == (3, True)
    assert (process.returncode, orjson.loads(out)["became"]["under_way"]) == (1, 3)


def test_a_disk_that_is_full_purges_nothing(url: str, valkey: redis.Redis, undertaker: Undertaker) -> None:
    """What could not be written is not deleted."""
    undertaker.bury("tencent", 3)
    folder = Path(f"/proc/{os.getpid()}")  # nobody can create a file there
    ran = call(url, "dead", "purge", "--all", "--export", str(folder / "x"), "--yes")
    assert (ran.status, "can't be written" in ran.line) == (2, True)
    assert valkey.hlen(Keys().dead("tencent")) == 3
    assert audit(url) == []


def test_an_export_is_its_owner_s_alone_and_a_new_file(
    url: str, undertaker: Undertaker, tmp_path: Path
) -> None:
    """Nobody else may read it, whatever the umask, and nothing but the whole file is left behind."""
    undertaker.bury("tencent", 2)
    old = os.umask(0o000)
    try:
        assert call(url, "dead", "export", "-o", str(tmp_path / "new")).status == 0
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.part"])
@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_an_export_writes_over_nothing(
    url: str, undertaker: Undertaker, tmp_path: Path, name: str, kind: str
) -> None:
    """What is there under its name, or under the one it has until it is whole, stays; no link is followed."""
    undertaker.bury("tencent", 1)
    precious = tmp_path / "precious"
    if kind != "dangling link":
        precious.write_text("precious")
    if kind == "file":
        (tmp_path / name).write_text("precious")
    else:
        (tmp_path / name).symlink_to(precious)
    ran = call(url, "dead", "export", "-o", str(tmp_path / "x.jsonl"))
    assert (ran.status, ran.line) == (
        2,
        f"{tmp_path / name} exists already: move it away, or choose another name",
    )
    assert not precious.exists() or precious.read_text() == "precious"
    assert (tmp_path / name).is_symlink() == (kind != "file")


def test_a_letter_is_chosen_by_its_message_id(url: str, undertaker: Undertaker) -> None:
    """Listed with it, also where no event could be read; chosen by it in every command that takes a filter."""
    undertaker.bury("tencent", 3)
    raw = message({"event": {"account": "tencent", "message_id": "7:wrong", "verified": "yes"}})
    (invalid,) = undertaker.bury("tencent", 1, Death(Reason.INVALID, (), raw))
    assert "7:wrong" in call(url, "dead", "list").out
    chosen = call(url, "dead", "list", "--message-id", "7:wrong", "--json").json["dead_letters"]
    assert [(one["id"], one["message_id"]) for one in chosen] == [(invalid, "7:wrong")]
    assert '"verified": "yes"' in call(url, "dead", "show", invalid).out
    assert call(url, "dead", "show", invalid, "--json").json["body"][1]["event"]["message_id"] == "7:wrong"
    exported = call(url, "dead", "export", "--message-id", "7:wrong").out
    assert orjson.loads(exported)["id"] == invalid
    purged = call(url, "dead", "purge", "--message-id", "7:wrong", "--yes", "--json").json
    assert purged["purged"] == 1
    assert audit(url)[0]["filter"]["message_ids"] == ["7:wrong"]
    assert call(url, "dead", "list", "--message-id", "7:wrong").out == "no dead letters\n"


def test_a_letter_that_died_again_says_so(url: str, undertaker: Undertaker) -> None:
    """So that the next shift does not replay it once more."""
    (id_,) = undertaker.bury("tencent")
    assert "died again" not in call(url, "dead", "list").out
    assert call(url, "dead", "replay", id_, "--yes").status == 0
    (leased,) = undertaker.lease("tencent")
    letter = write(leased, leased.history, Reason.EXHAUSTED, "", None, now_ms=leased.first_ms)
    assert undertaker.settle([(leased, Bury(Reason.EXHAUSTED, letter))]) == [True]
    assert "died again:" in call(url, "dead", "list").out
    assert "died again" in call(url, "dead", "show", id_).out


def _event(leased: Leased) -> Delivery:
    delivery = read(leased, now_ms=leased.first_ms)
    assert isinstance(delivery, Delivery)
    return delivery


def test_a_replay_that_waits_says_what_became_of_each(
    url: str, valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """Delivered, dead again, recalled, purged, leased, still queued: each is counted where it is."""
    undertaker.bury("tencent", 7)
    command = [sys.executable, "-m", "worker", "dead", "replay", "--all", "--yes", "--json", "--wait"]
    with subprocess.Popen(
        [*command, "--timeout", "5"], env=environment(url), cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        until(lambda: valkey.zcard(Keys().replays("tencent")) == 7)
        one, other, dead, _open = undertaker.lease("tencent", 4)
        letter = write(dead, dead.history, Reason.EXHAUSTED, "", None, now_ms=dead.first_ms)
        burial = Bury(Reason.EXHAUSTED, letter)
        assert (
            undertaker.settle([(_event(one), DELIVERED), (_event(other), DELIVERED), (dead, burial)])
            == [True] * 3
        )
        waiting: list[bytes] = admin(valkey).zrange(Keys().replays("tencent"), 0, 1)
        recalled, purged = (id_.decode() for id_ in waiting)
        assert call(url, "dead", "recall", recalled, purged, "--yes").status == 0
        assert call(url, "dead", "purge", purged, "--yes").status == 0
        out, _ = process.communicate(timeout=30)
    became = orjson.loads(out)["became"]
    # a look may find the purged one between its recall and its purge
    assert became.pop("recalled") + became.pop("otherwise") == 2
    assert (process.returncode, became) == (1, {"delivered": 2, "dead_again": 1, "under_way": 2})


def test_what_ended_otherwise_is_not_delivered(url: str, valkey: redis.Redis, undertaker: Undertaker) -> None:
    """A letter that is gone counts as delivered only where its delivery is remembered."""
    keys = Keys()
    letters, fates = DeadLetters(valkey, keys), Fates()
    found = [letter for id_ in undertaker.bury("tencent", 2) if (letter := letters.find(id_))]
    assert sum(letters.replay(fates.note(found), {"tencent": ReplayPace(1.0, "tencent", 1000.0)})) == 2
    (one,) = undertaker.lease("tencent", 1)
    assert undertaker.settle([(_event(one), DELIVERED)]) == [True]
    assert call(url, "dead", "recall", "--all", "--yes").status == 0
    assert call(url, "dead", "purge", "--all", "--yes").status == 0
    FateReader(valkey, keys, DeliveredMemory(valkey, keys, Remembered())).look(fates)
    assert fates.ended == {"delivered": 1, "otherwise": 1}


class Leaving(DeliveredMemory):
    """A memory whose Redis is away for its second question."""

    questions = 0

    def known(self, events: Iterable[tuple[Fingerprint, bool]]) -> list[bool]:
        """Return for each event if its delivery is remembered."""
        self.questions += 1
        if self.questions == 2:
            raise redis.ConnectionError("away")
        return super().known(events)


def test_a_look_that_redis_cuts_off_counts_nothing(
    valkey: redis.Redis, undertaker: Undertaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had seen is not counted twice by the next one."""
    monkeypatch.setattr(fate, "BATCH", 1)
    keys = Keys()
    letters, fates = DeadLetters(valkey, keys), Fates()
    found = [letter for id_ in undertaker.bury("tencent", 2) if (letter := letters.find(id_))]
    assert sum(letters.purge(fates.note(found))) == 2
    reader = FateReader(valkey, keys, Leaving(valkey, keys, Remembered()))
    with pytest.raises(redis.ConnectionError):
        reader.look(fates)
    assert fates.counts()["under_way"] == 2
    reader.look(fates)
    assert (fates.ended, fates.under_way) == ({"otherwise": 2}, [])


def test_a_replay_that_waits_outlasts_a_restart_of_redis(tmp_path: Path) -> None:
    """It says that Redis is away, and at the end what became of the letters."""
    with EmbeddedValkey(tmp_path) as server, redis.Redis(port=server.port) as client:
        undertaker = Undertaker(server.port)
        undertaker.bury("tencent", 2)
        command = [sys.executable, "-m", "worker", "dead", "replay", "--all", "--yes", "--json", "--wait"]
        with subprocess.Popen(
            command,
            env=environment(server.url),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            until(lambda: client.zcard(Keys().replays("tencent")) == 2)
            assert any("dead letters replayed" in line for line in process.stderr)
            server.kill()
            assert any("trying for 60 s" in line for line in process.stderr), "it has ended"
            server.start()
            undertaker = Undertaker(server.port)
            assert undertaker.settle([(_event(one), DELIVERED) for one in undertaker.lease("tencent", 2)])
            out, _ = process.communicate(timeout=30)
        assert (process.returncode, orjson.loads(out)["became"]["delivered"]) == (0, 2)


def test_a_replay_that_is_all_delivered_ends_with_0(
    url: str, valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """It ends by itself, and says so; a time without a wait is a slip."""
    assert call(url, "dead", "replay", "--all", "--yes", "--timeout", "3").line.startswith(
        "--timeout needs --wait"
    )
    undertaker.bury("tencent", 2)
    command = [sys.executable, "-m", "worker", "dead", "replay", "--all", "--yes", "--wait"]
    with subprocess.Popen(command, env=environment(url), cwd=ROOT, stdout=subprocess.PIPE) as process:
        until(lambda: valkey.zcard(Keys().replays("tencent")) == 2)
        assert undertaker.settle([(_event(one), DELIVERED) for one in undertaker.lease("tencent", 2)])
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, b"delivered 2, dead again 0, still under way 0" in out) == (0, True)
