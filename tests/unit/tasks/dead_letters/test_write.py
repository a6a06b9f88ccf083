import orjson

from providers import Result
from tasks.dead_letters import write as dead_letter
from tasks.history import Attempt, History
from tasks.retry import Reason
from tests.support.leased import NOW_MS, event, leased, message


def test_a_dead_letter_tells_the_whole_story() -> None:
    """Why, since when, each attempt with the provider's words, whether in doubt: all is in the first line."""
    history = History(
        (
            Attempt(NOW_MS, Result.UNKNOWN, "no_answer", "ReadTimeout", "", 10_000),
            Attempt(NOW_MS + 9, Result.DOUBTFUL, "FailedOperation", "try again", "req-2", 40),
        )
    )
    record = leased(deaths=2, history=history)
    letter = dead_letter.write(record, history, Reason.PERMANENT, "try again", event(), now_ms=NOW_MS + 50)
    line, _, raw = letter.partition(b"\n")
    assert orjson.loads(line) == {
        "id": "tencent:w:1",
        "account": "tencent",
        "reason": "permanent",
        "why": "try again",
        "class": "doubtful",
        "code": "FailedOperation",
        "message": "try again",
        "request_id": "req-2",
        "in_doubt": True,
        "deaths": 2,
        "first_at_ms": NOW_MS - 1000,
        "last_at_ms": NOW_MS + 50,
        "replayed_at_ms": None,
        "event": event().to_wire(),
        "attempts": [
            {
                "at_ms": NOW_MS,
                "class": "unknown",
                "code": "no_answer",
                "message": "ReadTimeout",
                "request_id": "",
                "duration_ms": 10_000,
            },
            {
                "at_ms": NOW_MS + 9,
                "class": "doubtful",
                "code": "FailedOperation",
                "message": "try again",
                "request_id": "req-2",
                "duration_ms": 40,
            },
        ],
    }
    assert raw == message({"event": event().to_wire()})


def test_the_bytes_are_kept_as_they_were_sent() -> None:
    """Bytes that no JSON holds, newlines and zeros among them, stand after the first line unchanged."""
    raw = b"\x00\xff\nnot\n\njson\n"
    letter = dead_letter.write(leased(raw), History(), Reason.INVALID, "not JSON", None, now_ms=NOW_MS)
    line, _, kept = letter.partition(b"\n")
    story = orjson.loads(line)
    assert kept == raw
    assert (story["event"], story["class"], story["attempts"], story["in_doubt"]) == (None, None, [], False)
