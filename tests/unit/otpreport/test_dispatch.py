"""What tells that an OTP was sent: what it takes, what it refuses, how it travels."""

import copy
import pickle
from dataclasses import replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from otpreport import Dispatch
from tests.unit.otpreport.test_event import NOON, moments, texts

GOOD: dict[str, object] = {"account": "tencent", "message_id": "2640:1", "sent_at": NOON}
PHONE = "+6591234567"

dispatches = st.builds(
    Dispatch,
    account=st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True),
    message_id=texts,
    sent_at=moments,
    expires_in=st.integers(30, 5110),
    country=st.from_regex(r"[A-Z]{2}", fullmatch=True),
)


@given(dispatches)
def test_round_trip(sent: Dispatch) -> None:
    """What went over the wire is the same, its time cut to milliseconds."""
    back = Dispatch.from_wire(sent.to_wire())
    assert back.to_wire() == sent.to_wire()
    assert timedelta(0) <= sent.sent_at - back.sent_at < timedelta(milliseconds=1)


def test_wire_form() -> None:
    """The time travels as UNIX milliseconds; what is not given has its default, on the wire as in a call."""
    wire = {"account": "tencent", "message_id": "2640:1", "sent_at": 1777636800000}
    full = wire | {"expires_in": 600, "country": "ZZ"}
    assert Dispatch.model_validate(GOOD).to_wire() == full
    assert Dispatch.from_wire(wire) == Dispatch.model_validate(GOOD)


@pytest.mark.parametrize("given", [30, 5110])
def test_the_bounds_are_within(given: int) -> None:
    """The shortest and the longest life are taken."""
    assert Dispatch.model_validate({**GOOD, "expires_in": given}).expires_in == given


@pytest.mark.parametrize("given", ["SG", "XK", "UK", "QQ", "ZZ"])
def test_a_country_that_is_not_listed_is_no_fault(given: str) -> None:
    """Any two capitals are taken: lists differ, and no OTP shall go uncounted for it."""
    assert Dispatch.model_validate({**GOOD, "country": given}).country == given


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("account", value) for value in ("Tencent", "", None)),
        *(("message_id", value) for value in ("", "m" * 257, "\ud800", 7)),
        ("sent_at", datetime(2026, 5, 1)),  # noqa: DTZ001 - naive, that is the fault
        *(("sent_at", value) for value in (None, 1777636800, "2026-05-01T12:00:00", True)),
        *(
            ("expires_in", value)
            for value in (29, 5111, 0, -1, 300.0, "300", True, None, timedelta(minutes=5))
        ),
        *(
            ("country", value)
            for value in ("sg", "SGP", "S", "", "65", "\uff33\uff27", "SG\n", "ÄÖ", 65, None, PHONE)
        ),
        *((name, PHONE) for name in ("phone", "verified", "occurred_at", "app_id", "template")),
    ],
)
def test_wrong_field_is_named(field: str, value: object) -> None:
    """A wrong or unknown field raises ValueError in one line with its name, and without any value."""
    for read in (Dispatch.model_validate, Dispatch.from_wire):
        with pytest.raises(ValueError, match=rf"^{field}: [^\n]*$") as caught:
            read({**GOOD, field: value})
        assert "2640:1" not in str(caught.value)
        assert PHONE not in str(caught.value)


@pytest.mark.parametrize("field", GOOD)
def test_missing_field_is_named(field: str) -> None:
    """A missing field raises ValueError with its name, as in a call."""
    with pytest.raises(ValueError, match=f"^{field}: is missing$"):
        Dispatch.from_wire({name: value for name, value in GOOD.items() if name != field})


def test_a_number_for_a_name_is_not_shown() -> None:
    """A value that stands where a field's name belongs is in no message either."""
    for name in (PHONE, "6591234567", "a" * 65, "a\nb"):
        with pytest.raises(ValueError, match=r"^one of the names: is not a field of a Dispatch$"):
            Dispatch.model_validate({**GOOD, name: 1})


def test_a_dispatch_is_a_value() -> None:
    """It is frozen, equal to its copies, hashable, shown, and survives a pickle."""
    sent = Dispatch.model_validate({**GOOD, "country": "SG"})
    copies = [
        copy.deepcopy(sent),
        pickle.loads(pickle.dumps(sent)),
        replace(sent),
        sent.model_copy(),
        Dispatch.model_validate(sent.model_dump()),
        Dispatch.model_construct(**GOOD, country="SG"),
    ]
    assert {*copies, sent} == {sent}
    assert "country='SG'" in repr(sent)
    with pytest.raises(ValueError, match="country"):
        replace(sent, country=PHONE)
    with pytest.raises(AttributeError):
        sent.country = "ZZ"  # type: ignore[misc]  # that is the fault


def test_subclasses_travel_as_what_they_are() -> None:
    """Enums are as good as their texts and numbers."""

    class Country(StrEnum):
        HERE = "SG"

    class Life(IntEnum):
        SHORT = 60

    sent = Dispatch.model_validate({**GOOD, "country": Country.HERE, "expires_in": Life.SHORT})
    assert (type(sent.country), type(sent.expires_in)) == (str, int)


def test_a_model_of_pydantic_takes_one() -> None:
    """A web app with pydantic has it as a field or a body, checked as anywhere."""
    adapter = TypeAdapter(dict[str, Dispatch])
    shown = b'{"it":{"account":"tencent","message_id":"2640:1","sent_at":"2026-05-01T12:00:00Z"}}'
    assert adapter.validate_json(shown) == {"it": Dispatch.model_validate(GOOD)}
    for wrong in (b'"account":"Tencent"', b'"account":"a","country":"sg"', b'"account":"a","phone":"1"'):
        with pytest.raises(ValidationError):
            adapter.validate_json(shown.replace(b'"account":"tencent"', wrong))
