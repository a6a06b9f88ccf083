"""The event: what it takes, what it refuses, how it travels."""

import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from otpreport import Dispatch, Verification
from otpreport.event import milliseconds

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
GOOD: dict[str, object] = {"account": "tencent", "message_id": "2640:1", "occurred_at": NOON}

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    datetime(2000, 1, 3),  # noqa: DTZ001 - the strategy adds the zone
    datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=zones,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)


@st.composite
def any_event(draw: st.DrawFn) -> Verification:
    """Return any event."""
    sent_at, occurred_at = sorted((draw(moments), draw(moments)))
    return Verification(
        account=draw(st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True)),
        message_id=draw(texts),
        occurred_at=occurred_at,
        verified=draw(st.booleans()),
        sent_at=draw(st.sampled_from([None, sent_at])),
        app_id=draw(st.none() | texts),
    )


events = any_event()


@given(events)
def test_round_trip(event: Verification) -> None:
    """An event that went over the wire is the same event, its times cut to milliseconds."""
    back = Verification.from_wire(event.to_wire())
    assert back.to_wire() == event.to_wire()
    assert timedelta(0) <= event.occurred_at - back.occurred_at < timedelta(milliseconds=1)
    assert (back.account, back.message_id, back.verified) == (event.account, event.message_id, event.verified)


def test_wire_form() -> None:
    """Times travel as UNIX milliseconds, what is unset does not travel."""
    event = Verification(account="tencent", message_id="2640:1", occurred_at=NOON)
    assert event.to_wire() == {
        "account": "tencent",
        "message_id": "2640:1",
        "occurred_at": 1777636800000,
        "verified": True,
    }
    assert event.sent_at_ms is None


def test_every_field_travels() -> None:
    """The optional fields travel when they are set."""
    event = Verification(
        account="a", message_id="m", occurred_at=NOON, verified=False, sent_at=NOON, app_id="1400000001"
    )
    assert event.to_wire() == {
        "account": "a",
        "message_id": "m",
        "occurred_at": 1777636800000,
        "verified": False,
        "sent_at": 1777636800000,
        "app_id": "1400000001",
    }
    assert event.sent_at_ms == event.occurred_at_ms == 1777636800000


def test_milliseconds_are_read() -> None:
    """A producer may give UNIX milliseconds, the form of the wire."""
    event = Verification.model_validate({**GOOD, "occurred_at": 1777636800000})
    assert event.occurred_at == NOON


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account", "Tencent"),
        ("account", ""),
        ("account", "a" * 65),
        ("account", "tencent\n"),
        ("account", 7),
        ("message_id", ""),
        ("message_id", "m" * 257),
        ("message_id", "\ud800"),
        ("message_id", None),
        ("occurred_at", datetime(2026, 5, 1)),  # noqa: DTZ001 - naive, that is the fault
        ("occurred_at", "2026-05-01T12:00:00Z"),
        ("occurred_at", 1777636800),  # seconds
        ("occurred_at", 1777636800000000),  # microseconds
        ("occurred_at", 10**400),
        ("occurred_at", True),
        ("occurred_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-23)))),  # the year 10000 in UTC
        ("occurred_at", 1777636800000.0),
        ("occurred_at", None),
        ("verified", 1),
        ("verified", "yes"),
        ("sent_at", 0),
        ("app_id", ""),
        ("app_id", 1400000001),
        ("phone", "+123456789"),
    ],
)
def test_wrong_field_is_named(field: str, value: object) -> None:
    """A wrong field raises ValueError with its name, and without its value."""
    with pytest.raises(ValueError, match=field) as caught:
        Verification.model_validate({**GOOD, field: value})
    assert "2640:1" not in str(caught.value), "another field is named"
    assert "+123456789" not in str(caught.value)


@pytest.mark.parametrize("field", ["account", "message_id", "occurred_at"])
def test_missing_field_is_named(field: str) -> None:
    """A missing field raises ValueError with its name, from the wire as from a caller."""
    data = {name: value for name, value in GOOD.items() if name != field}
    with pytest.raises(ValueError, match=field):
        Verification.from_wire(data)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1777636800.5, r"not a float like time.time\(\): use datetime.now\(UTC\)"),
        (1777636800, "give UNIX milliseconds, not seconds"),
        (datetime(2026, 5, 1), r"time zone: use datetime.now\(UTC\)"),  # noqa: DTZ001 - that is the fault
        ("2026-05-01T12:00:00Z", "not text: use datetime.fromisoformat"),
    ],
)
def test_a_usual_mistake_is_told_the_fix(value: object, said: str) -> None:
    """What people give instead of an aware datetime is told in one line, with what to write."""
    with pytest.raises(ValueError, match=rf"^occurred_at: [^\n]*{said}[^\n]*$"):
        Verification.model_validate({**GOOD, "occurred_at": value})


def test_sent_after_it_was_entered() -> None:
    """An event whose two times are the wrong way round is refused where it is made, and read where it arrived."""
    sent_at = NOON + timedelta(milliseconds=1)
    with pytest.raises(ValueError, match=r"^sent_at: is after occurred_at$"):
        Verification.model_validate({**GOOD, "sent_at": sent_at})
    assert Verification.model_validate({**GOOD, "sent_at": NOON}).sent_at == NOON
    wire = Verification.model_validate(GOOD).to_wire() | {"sent_at": milliseconds(sent_at)}
    assert Verification.from_wire(wire).sent_at == sent_at
    with pytest.raises(ValueError, match=r"^sent_at: is before the year 2000"):
        Verification.from_wire(wire | {"sent_at": 7})


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        ("2026-05-01T12:00:00Z", 1777636800000),
        ("2026-05-01t12:00:00z", 1777636800000),
        ("2026-05-01T20:00:00+08:00", 1777636800000),
        ("2026-05-01T20:00:00+0800", 1777636800000),
        ("2026-05-01 20:00:00+08", 1777636800000),
        ("2026-05-01T07:30-04:30", 1777636800000),
        ("2026-05-01T12:00:00-00:00", 1777636800000),
        ("20260501T120000Z", 1777636800000),
        ("2026-05-01T12:00:00.1Z", 1777636800100),
        ("2026-05-01T12:00:00,9999999999Z", 1777636800999),
        ("2026-05-02T11:59:00+23:59", 1777636800000),
        (1777636800000.0, 1777636800000),
        (1777636800000.999, 1777636800000),
        ({"__type__": "datetime", "__value__": "2026-05-01T12:00:00.113033+00:00"}, 1777636800113),
    ],
)
def test_times_of_other_producers(value: object, expected_ms: int) -> None:
    """ISO 8601 text with a zone, floats and kombu's datetimes are read from the wire, and from nowhere else."""
    event = Verification.from_wire({**GOOD, "occurred_at": value, "sent_at": value})
    assert (event.occurred_at_ms, event.sent_at_ms) == (expected_ms, expected_ms)
    with pytest.raises(ValueError, match="occurred_at"):
        Verification.model_validate({**GOOD, "occurred_at": value})


def test_a_dispatch_of_another_producer() -> None:
    """Its time is read from the wire in the same forms, and what is wrong with it is told in the same words."""
    wire = {"account": "tencent", "message_id": "m", "sent_at": "2026-05-01T12:00:00Z"}
    assert Dispatch.from_wire(wire) == Dispatch(account="tencent", message_id="m", sent_at=NOON)
    with pytest.raises(ValueError, match="sent_at"):
        Dispatch.model_validate(wire)
    with pytest.raises(
        ValueError, match=r"^sent_at: has no time zone.*; phone: is not a field of a Dispatch$"
    ):
        Dispatch.from_wire({**wire, "sent_at": "2026-05-01T12:00:00", "phone": "1"})
    with pytest.raises(ValueError, match=r"^message_id: is missing; sent_at: is missing$"):
        Dispatch.from_wire({"account": "tencent"})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2026-05-01T12:00:00", "has no time zone: end it with Z or an offset"),
        ("20260501T120000", "has no time zone"),
        ({"__type__": "datetime", "__value__": "2026-05-01T12:00:00.113033"}, "has no time zone"),
        ({"__type__": "date", "__value__": "2026-05-01"}, "not a datetime as kombu writes it"),
        ({"__type__": "datetime", "__value__": 7}, "not a datetime as kombu writes it"),
        ({"$date": 1777636800000}, "not a datetime as kombu writes it"),
        ("1777636800000", "text of digits: give UNIX milliseconds as a number"),
        ("2026-05-01", "not an ISO 8601 time with a zone"),
        ("2026-05-01T12:00:00 UTC", "not an ISO 8601 time with a zone"),
        ("2026-05-01T12:00:00+08:00[Asia/Shanghai]", "not an ISO 8601 time with a zone"),
        ("2026-05-01T12:00:00Z\n", "not an ISO 8601 time with a zone"),
        ("2026-05-01T12:00:00+24:00", "not an ISO 8601 time with a zone"),
        ("2026-12-31T23:59:60Z", "not an ISO 8601 time with a zone"),
        ("+010000-01-01T00:00:00Z", "not an ISO 8601 time with a zone"),
        ("２０２６-05-01T12:00:00Z", "not an ISO 8601 time with a zone"),  # noqa: RUF001 - digits of another script
        ("", "not an ISO 8601 time with a zone"),
        ("2026-02-30T12:00:00Z", "not in the calendar"),
        ("0000-01-01T00:00:00Z", "not in the calendar"),
        ("1999-12-31T23:59:59Z", "before the year 2000"),
        ("9999-12-31T23:59:59-00:01", "after the year 9999"),
        (1777636800.25, "UNIX milliseconds, not seconds"),
        (float("nan"), "not a finite number"),
        (float("inf"), "not a finite number"),
        (1.8e20, "after the year 9999"),
        (-1777636800000.0, "before the year 2000"),
        (True, "must be a datetime or UNIX milliseconds"),
        ([1777636800000], "must be a datetime or UNIX milliseconds"),
    ],
)
def test_a_wrong_time_from_the_wire_is_told_the_fix(value: object, said: str) -> None:
    """What another producer wrote wrong is told in one line, beside the other faults, without the value."""
    with pytest.raises(
        ValueError, match=rf"^message_id: must be a string; occurred_at: [^\n]*{said}"
    ) as caught:
        Verification.from_wire({**GOOD, "message_id": 7, "occurred_at": value})
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=rf"^sent_at: [^\n]*{said}"):
        Verification.from_wire({**GOOD, "sent_at": value})


def test_unknown_fields_are_ignored_on_the_way_in() -> None:
    """An event of a newer producer is read."""
    assert Verification.from_wire({**GOOD, "color": "blue"}).message_id == "2640:1"


def test_every_fault_in_one_line() -> None:
    """A dead letter's reason is one line with all faults."""
    with pytest.raises(ValueError, match=r"account.*; message_id") as caught:
        Verification.from_wire({"account": "A", "occurred_at": NOON})
    assert "\n" not in str(caught.value)


def test_frozen() -> None:
    """An event does not change after it was checked."""
    event = Verification(account="tencent", message_id="m", occurred_at=NOON)
    with pytest.raises(AttributeError):
        event.account = "other"  # type: ignore[misc]  # that is the fault


@pytest.mark.parametrize("field", ["account", "message_id", "occurred_at"])
def test_a_wrong_call_is_a_wrong_event(field: str) -> None:
    """A field that is missing or unknown in a call raises ValueError, and no TypeError as for other calls."""
    wrong: dict[str, Any] = {name: value for name, value in GOOD.items() if name != field}
    wrong["phone"] = "+123456789"
    with pytest.raises(ValueError, match=f"^{field}: is missing; phone: is not a field of an event$"):
        Verification(**wrong)


def test_a_misspelt_field_gets_the_one_that_was_meant() -> None:
    """In a web app as in the settings."""
    wrong: dict[str, Any] = {name: value for name, value in GOOD.items() if name != "account"}
    wrong["acount"] = "tencent"
    with pytest.raises(ValueError, match=r"acount: is not a field of an event: did you mean account\?$"):
        Verification(**wrong)


def test_an_event_is_a_value() -> None:
    """It is equal to its copies, hashable, shown, and survives a pickle."""
    event = Verification(account="tencent", message_id="m", occurred_at=NOON, app_id="1400000001")
    copies = [
        copy.deepcopy(event),
        pickle.loads(pickle.dumps(event)),
        replace(event),
        event.model_copy(),
        Verification.model_validate(event.model_dump()),
        Verification.model_construct(**event.model_dump()),
    ]
    assert {*copies, event} == {event}
    assert "message_id='m'" in repr(event)
    assert replace(event, message_id="n") != event


def test_who_checks_a_changed_event() -> None:
    """`replace` checks what it is given; `model_copy` does not, the reporter does."""
    event = Verification(account="tencent", message_id="m", occurred_at=NOON)
    with pytest.raises(ValueError, match="message_id"):
        replace(event, message_id="")
    assert not event.model_copy(update={"message_id": ""}).message_id


def test_a_subclass_of_text_travels_as_text() -> None:
    """An enum of accounts, for example, is as good as its text."""

    class Account(StrEnum):
        ABROAD = "tencent"

    event = Verification(account=Account.ABROAD, message_id="m", occurred_at=NOON)
    assert type(event.account) is str
    assert event.account == "tencent"


def test_a_model_of_pydantic_takes_an_event() -> None:
    """A web app with pydantic has events as fields and bodies, in JSON and out of it, checked as anywhere."""
    adapter = TypeAdapter(dict[str, Verification])
    event = Verification(account="tencent", message_id="m", occurred_at=NOON)
    shown = b'{"it":{"account":"tencent","message_id":"m","occurred_at":"2026-05-01T12:00:00Z"}}'
    assert adapter.validate_json(shown) == {"it": event}
    assert adapter.validate_python({"it": event})["it"] is event
    assert adapter.validate_json(adapter.dump_json({"it": event})) == {"it": event}
    for wrong in (b'"account":"Tencent"', b'"account":7', b'"account":"a","phone":"1"'):
        with pytest.raises(ValidationError, match=r"it"):
            adapter.validate_json(shown.replace(b'"account":"tencent"', wrong))
    assert adapter.json_schema()["$defs"]["Verification"]["required"] == [
        "account",
        "message_id",
        "occurred_at",
    ]
