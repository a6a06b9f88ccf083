"""Events of a file: what is read, and which line is blamed for what."""

import io
from datetime import UTC, datetime

import pytest

from worker.cli.event_file import LONGEST_LINE, EventFile, Row, UnreadableError

AT = 1_780_000_000_000


def read(text: str | bytes) -> list[Row]:
    """Return the rows of a file."""
    return list(EventFile(io.BytesIO(text if isinstance(text, bytes) else text.encode())).rows())


@pytest.mark.parametrize(
    "text",
    [
        f'{{"account": "a", "message_id": "1", "occurred_at": {AT}, "verified": false}}',
        f'\ufeff\n{{"account": "a", "message_id": "1", "occurred_at": {AT}, "verified": false}}\r\n\n',
        f"account,message_id,occurred_at,verified\na,1,{AT},false\n",
        f'\ufeffverified,occurred_at,message_id,account,sent_at\r\nNO,{AT},"1",a,\r\n\r\n',
        "account,message_id,occurred_at,verified\na,1,2026-05-28T20:26:40Z,0",
        '{"account": "a", "message_id": "1", "occurred_at": "2026-05-28T22:26:40+02:00", "verified": false}',
    ],
)
def test_forms(text: str) -> None:
    """JSON lines and CSV, with times as numbers or text, say the same."""
    (row,) = read(text)
    assert row.event is not None, row.fault
    assert row.event.to_wire() == {"account": "a", "message_id": "1", "occurred_at": AT, "verified": False}
    assert row.event.occurred_at == datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ('{"account": "a"}', 1, "message_id: is missing; occurred_at: is missing"),
        ('{"account": "a"}\n{nonsense\n', 2, "is not JSON"),
        ('{"account": "a"}\n\n[1]\n', 3, "is not a JSON object"),
        (f'{{"account": "a", "message_id": "1", "ocurred_at": {AT}}}', 1, "'ocurred_at' is not a field"),
        ("account,message_id,occurred_at\na,1\n", 2, "has 2 cells, the first line has 3"),
        (
            "account,message_id,occurred_at\na,1,yesterday\n",
            2,
            "occurred_at: is not an ISO 8601 time with a zone, like 2026-05-01T12:00:00Z, nor UNIX",
        ),
        *(
            (
                f"account,message_id,occurred_at\na,1,{digits}\n",
                2,
                "occurred_at: is after the year 9999",
            )
            for digits in ("9" * 17, "9" * 5000)
        ),
        (
            '{"account": "a", "message_id": "1", "occurred_at": null}',
            1,
            "occurred_at: must be UNIX milliseconds, or text like",
        ),
        (
            "account,message_id,occurred_at\na,1,2026-05-28T20:26:40\n",
            2,
            "occurred_at: has no time zone: end it with Z or an offset like +08:00",
        ),
        ("account,message_id,occurred_at\na,1,1780000000\n", 2, "occurred_at: is before the year 2000"),
        (f'account,message_id,occurred_at\n"a\nb",1,{AT}\n', 3, "account: must be 1 to 64 of"),
        (
            f"account,message_id,occurred_at,verified\na,1,{AT},perhaps\n",
            2,
            "verified: must be true or false",
        ),
    ],
)
def test_faulty_line(text: str, line: int, fault: str) -> None:
    """A faulty line is named with what is wrong with it, and the rest is read."""
    row = read(text)[-1]
    assert (row.line, row.event) == (line, None)
    assert row.fault.startswith(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "account,message_id,occured_at\n",
            "line 1: 'occured_at' is not a field of an event: did you mean occurred_at?",
        ),
        ("account,message_id\n", "line 1: the column occurred_at is missing"),
        ("account,message_id,occurred_at,account\n", "line 1: a column is named twice"),
        (f'account,message_id,occurred_at\na,"1,{AT}\n', "line 2: is not CSV"),
        (b"account,message_id,occurred_at\n\xff,1,2\n", "line 2: is not UTF-8"),
        (b"x" * 10_000_000, f"line 1: is longer than {LONGEST_LINE:,} bytes"),
    ],
)
def test_unreadable(text: str | bytes, fault: str) -> None:
    """What can't be read any further says where."""
    with pytest.raises(UnreadableError) as raised:
        read(text)
    assert str(raised.value).startswith(fault)


def test_empty() -> None:
    """An empty file has no events."""
    assert not read("")
    assert not read("\n\n")


def test_digest() -> None:
    """The digest tells one text from another, and does not mind a last line that gets its end later."""
    digests: list[str] = []
    for text in (b"{}", b"{}\n", b"{}\r\n", b"{ }"):
        file = EventFile(io.BytesIO(text))
        list(file.rows())
        digests.append(file.digest())
    assert len(set(digests[:3])) == 1
    assert digests[3] != digests[0]
