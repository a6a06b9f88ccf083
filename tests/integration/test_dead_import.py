"""A dead letter that an operator corrects in an export, and queues again with `dead import`."""

from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from otpreport import Verification
from tasks.dead_letters.filter import Filter
from tasks.dead_letters.store import DeadLetters, ReplayPace
from tasks.dead_letters.write import write
from tasks.delivery import Delivery, read
from tasks.keys import Keys
from tasks.retry import Reason
from tasks.settlement import DELIVERED, Bury
from tests.support.admin import admin
from tests.support.books import read_books
from tests.support.command import call
from tests.support.dead import LOST, Death, Undertaker
from tests.support.leased import message

WRONG = message({"event": {"account": "tencent", "message_id": "7:wrong", "verified": "yes"}})
INVALID = Death(Reason.INVALID, (), WRONG)
RIGHT = {
    "account": "tencent",
    "message_id": "7:right",
    "occurred_at": "2026-05-01T12:00:00Z",
    "verified": False,
}
PACES = {"tencent": ReplayPace(1.0, "tencent", 1000.0)}


def exported(url: str, **changes: object) -> list[dict[str, Any]]:
    """Return the lines of an export, each changed so."""
    lines = call(url, "dead", "export").out.splitlines()
    return [orjson.loads(line) | changes for line in lines]


def saved(tmp_path: Path, lines: list[dict[str, Any]]) -> str:
    """Write them to a file."""
    file = tmp_path / "fixed.jsonl"
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return str(file)


def everything(valkey: redis.Redis) -> dict[bytes, bytes | None]:
    """Return what Redis holds."""
    keys: list[bytes] = admin(valkey).keys("*")
    return {key: valkey.dump(key) for key in keys}


def import_(url: str, file: str, *more: str) -> dict[str, Any]:
    """Run the command and return what it counted, without the zeros."""
    counts: dict[str, Any] = call(url, "dead", "import", file, "--yes", "--json", *more).json
    return {name: value for name, value in counts.items() if value}


def test_a_corrected_letter_is_delivered(
    url: str, valkey: redis.Redis, undertaker: Undertaker, tmp_path: Path
) -> None:
    """Its worker gets the corrected event, once; the books agree before, between and after."""
    undertaker.bury("tencent", 2, INVALID)
    lines = exported(url)
    for number, line in enumerate(lines):
        line["event"] = RIGHT | {"message_id": f"right-{number}"}
    file = saved(tmp_path, lines)
    before = everything(valkey)
    assert import_(url, file, "--dry-run") == {"found": 2, "dry_run": True}
    assert everything(valkey) == before
    assert import_(url, file) == {"found": 2, "imported": 2}
    assert not read_books(valkey, ["tencent"])["tencent"].faults()
    leased = undertaker.lease("tencent", 2)
    found = [read(one, now_ms=one.first_ms) for one in leased]
    events = [one.event for one in found if isinstance(one, Delivery)]
    assert {event.message_id for event in events} == {"right-0", "right-1"}
    assert not any(event.verified for event in events)
    assert undertaker.settle([(one, DELIVERED) for one in leased]) == [True, True]
    books = read_books(valkey, ["tencent"])["tencent"]
    assert (books.delivered, books.dead, books.faults()) == (2, 0, [])
    assert not admin(valkey).hgetall(Keys().dead_reasons)


def test_a_second_import_changes_nothing(
    url: str, valkey: redis.Redis, undertaker: Undertaker, tmp_path: Path
) -> None:
    """Neither while the letter waits, nor after it was recalled, delivered, or died again."""
    ids = undertaker.bury("tencent", 2, INVALID)
    lines = exported(url)
    for line in lines:
        line["event"] = RIGHT | {"message_id": line["id"]}
    file = saved(tmp_path, lines)
    import_(url, file)
    before = everything(valkey)
    assert import_(url, file) == {"left_waiting": 2}
    assert call(url, "dead", "recall", "--all", "--yes").status == 0
    assert import_(url, file) == {"left_unchanged": 2}
    assert call(url, "dead", "replay", "--all", "--yes").status == 0
    letters = {key: value for key, value in everything(valkey).items() if b"audit" not in key}
    assert letters == {key: value for key, value in before.items() if b"audit" not in key}
    one, other = undertaker.lease("tencent", 2)
    letter = write(other, other.history, Reason.EXHAUSTED, "", None, now_ms=other.first_ms)
    assert undertaker.settle([(one, DELIVERED), (other, Bury(Reason.EXHAUSTED, letter))])
    (again,) = exported(url)
    died_meanwhile = again["died_ms"] != lines[ids.index(other.tag)]["died_ms"]
    assert died_meanwhile
    before = everything(valkey)
    assert import_(url, file) == {"left_changed": 1, "not_found": [one.tag]}
    assert everything(valkey) == before


def _in_doubt(undertaker: Undertaker) -> None:
    undertaker.bury("tencent", 1, Death(Reason.EXHAUSTED, (LOST,)))


def _long(undertaker: Undertaker) -> None:
    undertaker.send("tencent", 1, b"x" * 70_000)
    undertaker.round("tencent")


def _elsewhere(undertaker: Undertaker) -> None:
    undertaker.bury("gone", 1, INVALID)


@pytest.mark.parametrize(
    ("bury", "left"),
    [(_in_doubt, "left_in_doubt"), (_long, "left_long"), (_elsewhere, "left_not_configured")],
)
def test_what_may_not_be_sent_is_left_alone(
    url: str,
    valkey: redis.Redis,
    undertaker: Undertaker,
    tmp_path: Path,
    bury: Callable[[Undertaker], None],
    left: str,
) -> None:
    """In doubt, cut, or of an account that nobody serves: as for a replay."""
    bury(undertaker)
    lines = exported(url)
    for line in lines:
        line["event"] = RIGHT | {"account": line["account"]}
    file = saved(tmp_path, lines)
    before = everything(valkey)
    assert import_(url, file) == {left: 1}
    assert call(url, "dead", "import", file, "--yes").status == 1
    assert everything(valkey) == before
    if left == "left_in_doubt":
        assert import_(url, file, "--include-in-doubt") == {"found": 1, "imported": 1}


def test_a_letter_that_is_no_record_of_ours_is_left_alone(
    url: str, valkey: redis.Redis, undertaker: Undertaker, tmp_path: Path
) -> None:
    """There is no story to keep."""
    (id_,) = undertaker.bury("tencent", 1, INVALID)
    admin(valkey).hset(Keys().dead("tencent"), id_, b"foreign")
    assert import_(url, saved(tmp_path, exported(url, event=RIGHT))) == {"left_unreadable": 1}


FAULTS: list[tuple[object, str]] = [
    ({"event": None}, "event: must be the corrected event, an object (`body` and `raw` are not read)"),
    ({"event": RIGHT | {"verified": "yes?"}}, "event: verified: must be true or false"),
    ({"event": RIGHT | {"occured_at": 1}}, "event: 'occured_at' is not a field of an event: did you mean"),
    ({"event": {"account": "tencent", "message_id": "1"}}, "event: occurred_at: is missing"),
    ({"event": RIGHT | {"sent_at": "2026-05-01T12:00:01Z"}}, "event: sent_at: is after occurred_at"),
    ({"event": RIGHT | {"account": "alibaba"}}, "event: account: must be tencent, in whose queue it was"),
    ({"id": "7"}, "id: must be as exported"),
    ({"died_ms": None}, "died_ms: must be as exported"),
]


@pytest.mark.parametrize(("change", "said"), FAULTS, ids=[said[:40] for _, said in FAULTS])
def test_a_wrong_line_is_named_and_nothing_is_imported(
    url: str, valkey: redis.Redis, undertaker: Undertaker, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """With its number and the field; the good lines wait until all are good."""
    undertaker.bury("tencent", 2, INVALID)
    first, second = exported(url, event=RIGHT)
    file = saved(tmp_path, [first, second | change])
    before = everything(valkey)
    ran = call(url, "dead", "import", file, "--yes")
    assert (ran.status, ran.line.startswith(f"{file}: line 2: {said}")) == (2, True), ran.err
    assert everything(valkey) == before


def test_a_file_that_is_no_export_is_refused(url: str, undertaker: Undertaker, tmp_path: Path) -> None:
    """Each kind in one line."""
    undertaker.bury("tencent", 1, INVALID)
    (line,) = exported(url, event=RIGHT)
    file = saved(tmp_path, [line, line])
    assert call(url, "dead", "import", file, "--yes").line.endswith("line 2: id: is in line 1 already")
    (tmp_path / "text").write_text("{\n")
    assert "line 1: is not JSON" in call(url, "dead", "import", str(tmp_path / "text"), "--yes").line
    (tmp_path / "empty").write_text("\n")
    assert "has no dead letters" in call(url, "dead", "import", str(tmp_path / "empty"), "--yes").line
    assert "can't be read: No such file" in call(url, "dead", "import", str(tmp_path / "no"), "--yes").line


def test_a_file_from_windows_is_read(url: str, undertaker: Undertaker, tmp_path: Path) -> None:
    """With a mark at its beginning, and two characters at each line's end."""
    undertaker.bury("tencent", 2, INVALID)
    file = Path(saved(tmp_path, exported(url, event=RIGHT)))
    file.write_bytes(BOM_UTF8 + file.read_bytes().replace(b"\n", b"\r\n"))
    assert import_(url, str(file)) == {"found": 2, "imported": 2}


def test_a_file_that_was_cut_is_not_imported(url: str, undertaker: Undertaker, tmp_path: Path) -> None:
    """As by a full disk: not even the lines before."""
    undertaker.bury("tencent", 2, INVALID)
    file = Path(saved(tmp_path, exported(url, event=RIGHT)))
    file.write_bytes(file.read_bytes()[:-9])
    ran = call(url, "dead", "import", str(file), "--yes")
    assert (ran.status, ran.line) == (
        2,
        f"{file}: line 2: is not JSON: unexpected end of data (a letter is one line)",
    )


def test_an_old_look_corrects_nothing(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """A letter that died again, or was purged, since it was read keeps what it has: the script looks itself."""
    died, purged = undertaker.bury("tencent", 2, INVALID)
    letters = DeadLetters(valkey, Keys())
    seen = list(letters.letters(Filter()))
    events = {one.id: Verification.model_validate(RIGHT | {"occurred_at": 1_777_000_000_000}) for one in seen}
    admin(valkey).zincrby(Keys().dead_index("tencent"), 5, died)
    assert sum(letters.purge(one for one in seen if one.id == purged)) == 1
    before = everything(valkey)
    assert sum(letters.correct(seen, events, PACES)) == 0
    assert everything(valkey) == before


def test_two_imports_at_once_correct_each_once(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """Who read a letter before another queued it changes it no more."""
    undertaker.bury("tencent", 3, INVALID)
    letters = DeadLetters(valkey, Keys())
    seen = list(letters.letters(Filter()))
    event = Verification.model_validate(RIGHT | {"occurred_at": 1_777_000_000_000})
    assert sum(letters.correct(seen, {one.id: event for one in seen}, PACES)) == 3
    before = everything(valkey)
    other = Verification.model_validate(event.model_dump() | {"message_id": "another"})
    assert sum(letters.correct(seen, {one.id: other for one in seen}, PACES)) == 0
    assert everything(valkey) == before


def test_an_import_is_written_down(url: str, undertaker: Undertaker, tmp_path: Path) -> None:
    """Who, which file, which letters, and how it ended."""
    (id_,) = undertaker.bury("tencent", 1, INVALID)
    file = saved(tmp_path, exported(url, event=RIGHT))
    assert call(url, "dead", "import", file, "--yes", "--by", "kim").status == 0
    end, start = call(url, "audit", "--json").json["audit"]
    assert (start["action"], start["by"], start["file"], start["ids"]) == ("import", "kim", file, [id_])
    assert (end["action"], end["imported"], end["result"]) == ("import-end", 1, "done")
    assert "7:right" in call(url, "dead", "list").out
