"""The schema of an OTP that was sent, for producers that check what they write: it takes what the workers take."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs, reportMissingModuleSource]
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otpreport import Dispatch
from tests.unit.otpreport.test_dispatch import dispatches
from tests.unit.otpreport.test_schema import BEYOND_A_PATTERN, SCHEMA, ends_in_a_line_feed, others, times

SENT: Any = json.loads((Path(__file__).parents[3] / "docs" / "sent.schema.json").read_text())
GOOD: dict[str, object] = {"account": "tencent", "message_id": "2640:1", "sent_at": 1777636800000}
FIELDS = (*GOOD, "expires_in", "country")

validator: Any = jsonschema.Draft202012Validator(SENT)

values = st.one_of(
    times, others, st.integers(28, 32), st.integers(5108, 5112), st.sampled_from(["SG", "XX", "sg", "SGP"])
)


def assert_alike(wire: dict[str, Any]) -> None:
    """Assert that the schema takes what a worker takes."""
    assume(not any(map(ends_in_a_line_feed, wire.values())))
    assume(
        not isinstance(wire.get("expires_in"), float)
    )  # 600.0 is an integer for JSON Schema, and for no worker
    try:
        Dispatch.from_wire(wire)
        reasons = []
    except ValueError as error:
        reasons = str(error).split("; ")
    if not validator.is_valid(wire):
        assert reasons
    else:
        assert all(BEYOND_A_PATTERN.search(reason) for reason in reasons), reasons


@given(dispatches)
def test_every_dispatch_of_ours(dispatch: Dispatch) -> None:
    """What the client writes is valid."""
    validator.validate(dispatch.to_wire())


@given(
    st.fixed_dictionaries(dict.fromkeys(GOOD, values), optional=dict.fromkeys([*FIELDS[3:], "phone"], values))
)
def test_any_object(wire: dict[str, Any]) -> None:
    """An object is valid if a worker reads it; an unknown field makes it invalid for both."""
    assert_alike(wire)


@given(st.sampled_from([*FIELDS, "phone"]), values)
def test_any_field(field: str, value: object) -> None:
    """An object with one field of any kind is valid if a worker reads it."""
    assert_alike({**GOOD, field: value})


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field(field: str) -> None:
    """The fields that an OTP needs are those that the schema requires."""
    wire = {name: value for name, value in GOOD.items() if name != field}
    assert not validator.is_valid(wire)
    with pytest.raises(ValueError, match=f"^{field}: is missing$"):
        Dispatch.from_wire(wire)


def test_times_and_names_are_those_of_the_event() -> None:
    """What both have in common is written alike."""
    assert SENT["$defs"] == SCHEMA["$defs"]
    assert SENT["properties"]["account"] == SCHEMA["properties"]["account"]
    for bound in ("type", "minLength", "maxLength"):
        assert SENT["properties"]["message_id"][bound] == SCHEMA["properties"]["message_id"][bound]


def test_the_defaults_are_those_of_the_client() -> None:
    """Who leaves a field out gets what the schema says."""
    dispatch = Dispatch.from_wire(GOOD)
    told = {name: SENT["properties"][name]["default"] for name in FIELDS[3:]}
    assert told == {"expires_in": dispatch.expires_in, "country": dispatch.country}
