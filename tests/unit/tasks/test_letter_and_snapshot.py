"""A dead letter read back, and the numbers of a snapshot."""

import orjson
import pytest

from tasks.accounts.states import State
from tasks.dead_letters.letter import Letter
from tasks.fleet.snapshot import AccountSnapshot
from tasks.limiter.rate import Rate
from worker.cli.letters import as_record

STORY = {"id": "tencent:w:1", "account": "tencent", "reason": "permanent", "in_doubt": True, "first_at_ms": 5}


@pytest.mark.parametrize("raw", [b"", b"plain", b"a\nb\n", b"\xff\x00", b'{"reason":1}\n{}'])
def test_the_message_comes_back_as_it_was_sent(raw: bytes) -> None:
    """Only the first line is ours; whatever follows is the message, byte for byte."""
    letter = Letter.parse("tencent", "tencent:w:1", 9, orjson.dumps(STORY) + b"\n" + raw, whole=True)
    assert letter.raw == raw
    assert (letter.reason, letter.in_doubt, letter.first_ms, letter.occurred_ms) == ("permanent", True, 5, 5)


@pytest.mark.parametrize("record", [b"", b"no json\nraw", b"[1]\n", b"{}\n", b"\xff\xff"])
def test_a_record_of_somebody_else_is_shown_not_raised(record: bytes) -> None:
    """What can't be read stands in the list like any other, with all its bytes."""
    letter = Letter.parse("tencent", "x", 9, record, whole=True)
    assert not letter.readable
    assert letter.raw == record
    assert as_record(letter)["reason"] == "unreadable"


def test_a_record_for_a_script_has_the_message_as_text_or_base64() -> None:
    """JSON can't hold any bytes, so what is no UTF-8 comes in base64."""
    line = orjson.dumps(STORY) + b"\n"
    text = as_record(Letter.parse("tencent", "x", 9, line + "号".encode(), whole=True))
    assert text["raw"] == "号"
    assert "raw_base64" not in text
    binary = as_record(Letter.parse("tencent", "x", 9, line + b"\xff\x00", whole=True))
    assert binary["raw_base64"] == "/wA="
    assert "raw" not in binary


def snapshot(
    *,
    ready: int = 0,
    records: int = 0,
    scheduled: int = 0,
    dead: int = 0,
    booked: dict[str, int] | None = None,
    oldest_ms: int | None = None,
    rate: Rate = Rate(),  # noqa: B008 - frozen
    state: State = State(),  # noqa: B008 - frozen
) -> AccountSnapshot:
    """Return an account at second 100 of Redis' clock."""
    return AccountSnapshot(
        "tencent",
        configured=True,
        now_ms=100_000,
        ready=ready,
        scheduled=scheduled,
        records=records,
        dead=dead,
        dead_by_reason={},
        booked=booked or {},
        oldest_ms=oldest_ms,
        state=state,
        rate=rate,
    )


def test_the_books_balance_or_show_the_gap() -> None:
    """Taken is what ended, what is dead and what is still there; a lost event is a positive gap."""
    booked = {"taken": 10, "delivered": 3, "duplicate": 1, "skipped": 1, "shed": 1, "purged": 1}
    assert snapshot(records=2, scheduled=1, dead=1, booked=booked).gap == 0
    assert snapshot(records=1, scheduled=1, dead=1, booked=booked).gap == 1
    assert snapshot(records=3, scheduled=1, dead=1, booked=booked).gap == -1


def test_places_add_up_to_taken() -> None:
    """Each event stands in exactly one place."""
    places = snapshot(records=5, scheduled=2, dead=1, booked={"taken": 9, "delivered": 3}).places
    assert places["leased"] == 3
    assert sum(places.values()) - places["taken"] == places["taken"]


def test_a_snapshot_knows_the_rate_of_its_moment() -> None:
    """What is shown is what admission grants at that moment."""
    assert snapshot().effective_rate(500) == 500
    assert snapshot(rate=Rate(100.0, top=140.0, lowered_at=100.0)).effective_rate(500) == pytest.approx(
        100, rel=1e-3
    )


@pytest.mark.parametrize(("since", "share"), [(100_000, 0.01), (94_000, 0.1), (89_000, 0.5), (80_000, 1.0)])
def test_a_recovering_account_uses_a_part_of_its_rate(since: int, share: float) -> None:
    """The ramp is part of what is shown, too."""
    state = State.of(("", "", "", "", "", str(since), "500", "", ""), 100_000)
    assert state.name == ("running" if share == 1.0 else "recovering")
    assert snapshot(state=state).effective_rate(500) == pytest.approx(500 * share)


def test_age_is_that_of_a_waiting_event() -> None:
    """Nothing waits: 0, whatever the index still says; a clock behind ours makes no negative age."""
    assert snapshot(ready=1, oldest_ms=40_000).oldest_age == 60.0
    assert snapshot(records=1, oldest_ms=40_000).oldest_age == 0.0
    assert snapshot(ready=1, oldest_ms=200_000).oldest_age == 0.0
