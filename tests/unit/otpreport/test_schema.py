"""The schema of the event, for producers that check what they write: it takes what the workers take."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs, reportMissingModuleSource]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpreport import Verification, foreign
from tests.unit.otpreport.test_event import events, moments

SCHEMA: Any = json.loads((Path(__file__).parents[3] / "docs" / "event.schema.json").read_text())
GOOD: dict[str, object] = {"account": "tencent", "message_id": "2640:1", "occurred_at": 1777636800000}

# What no pattern says of a time: its day has to be in the calendar, and in UTC it has to be in these years.
BEYOND_A_PATTERN = re.compile(r"is not in the calendar|is before the year 2000|is after the year 9999")
"""Reasons for which a worker may refuse what the schema takes."""

validator: Any = jsonschema.Draft202012Validator(SCHEMA)

numbers = st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False)
times = st.one_of(
    numbers,
    st.sampled_from([946684799999, 946684800000, 253402300799999, 253402300800000, 253402300799999.9]),
    st.from_regex(foreign.ZONED, fullmatch=True),
    st.text(st.sampled_from("2026-05-01T12:00:00.5Z+ "), max_size=25),
    moments.map(lambda moment: moment.isoformat()),
    moments.map(lambda moment: {"__type__": "datetime", "__value__": moment.isoformat()}),
    st.fixed_dictionaries(
        {"__type__": st.sampled_from(["datetime", "date"])}, optional={"__value__": numbers}
    ),
)
others = st.none() | st.booleans() | st.integers() | st.text(max_size=300) | st.lists(st.none(), max_size=2)
fields = st.fixed_dictionaries(
    {
        "account": st.sampled_from(["tencent", "a" * 65]) | others,
        "message_id": st.text(max_size=300) | others,
        "occurred_at": times | others,
    },
    optional={
        "verified": st.booleans() | others,
        "sent_at": times | others,
        "app_id": st.text(max_size=300) | others,
        "color": others,
    },
)


def refusal(wire: Mapping[str, Any]) -> str:
    """Return why a worker refuses an event; nothing where it takes it."""
    try:
        Verification.from_wire(wire)
    except ValueError as error:
        return str(error)
    return ""


def assert_alike(wire: dict[str, Any]) -> None:
    """Assert that the schema takes what a worker takes."""
    reasons = [reason for reason in refusal(wire).split("; ") if reason]
    if not validator.is_valid(wire):
        assert reasons
    else:
        assert all(BEYOND_A_PATTERN.search(reason) for reason in reasons), reasons


def ends_in_a_line_feed(value: object) -> bool:
    """Return whether Python finds the end of a pattern before the end of this text; JSON Schema does not."""
    return isinstance(value, str) and value.endswith("\n")


@given(events)
def test_every_event_of_ours(event: Verification) -> None:
    """What the client writes is valid."""
    validator.validate(event.to_wire())


@given(fields)
def test_any_object(wire: dict[str, Any]) -> None:
    """An object is valid if a worker reads it, but for the days that no pattern knows."""
    if not any(map(ends_in_a_line_feed, wire.values())):
        assert_alike(wire)


@given(
    st.sampled_from(["account", "message_id", "occurred_at", "verified", "sent_at", "app_id"]), times | others
)
def test_any_field(field: str, value: object) -> None:
    """An object with one field of any kind is valid if a worker reads it."""
    if not ends_in_a_line_feed(value):
        assert_alike({**GOOD, field: value})


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field(field: str) -> None:
    """The fields that an event needs are those that the schema requires."""
    wire = {name: value for name, value in GOOD.items() if name != field}
    assert refusal(wire)
    assert not validator.is_valid(wire)


def test_the_text_of_a_time_is_that_of_the_workers() -> None:
    """One pattern is in both, with the years in which an OTP can have been sent."""
    years = foreign.ZONED.replace("[0-9]{4}", "[2-9][0-9]{3}")
    assert SCHEMA["$defs"]["text"]["pattern"] == f"^(?:{years})$"
    for example in SCHEMA["$defs"]["text"]["examples"]:
        assert not refusal({**GOOD, "occurred_at": example})
