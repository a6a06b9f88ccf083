"""An answer's JSON: what is taken for one thing said, and what is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Answer, Result
from providers.codes import CodeTable
from providers.masking import Mask
from providers.reply import bare, code, json_object, judge, recorded


def in_braces(members: list[tuple[str, str]]) -> str:
    """Return an object's text; names may stand twice."""
    return f"{{{', '.join(f'{name}: {value}' for name, value in members)}}}"


NAMES = st.sampled_from(['"a"', '"\\u0061"', '"b"', '"b:"', '"\\u003a"', '""'])
"""Two of them are one name, and some hold the colon that follows a name."""

SCALARS = st.sampled_from(['"x"', '"a:b"', '"\\"a\\":"', '"\\u003a"', "1", "null", "true", "1.5", "NaN"])
TEXTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{','.join(values)}]")
        | st.lists(st.tuples(NAMES, inner), max_size=4).map(in_braces)
    ),
    max_leaves=10,
)


def plainly(text: str) -> object:
    """Return what a text says, each object's names looked at; ValueError where readers disagree."""
    return json.loads(text, object_pairs_hook=once, parse_constant=float_of)


def once(members: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object; ValueError where a name stands twice."""
    if len(dict(members)) != len(members):
        raise ValueError("twice")
    return dict(members)


def float_of(word: str) -> float:
    """Take no number but JSON's."""
    raise ValueError(word)


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=4).map(in_braces) | TEXTS)
def test_it_says_one_thing_or_nothing(text: str) -> None:
    """An object is read as written if no name in it stands twice, at any depth, and refused otherwise."""
    try:
        said = plainly(text)
    except ValueError:
        said = None
    assert json_object(text.encode()) == (said if isinstance(said, dict) else None)


def test_an_escaped_colon_hides_no_second_name() -> None:
    """Colons of texts are counted as they are read, so an escaped one could stand for that of a name that is gone."""
    assert json_object(b'{"a": 1, "a": "\\u003a"}') is None
    assert json_object(b'{"a": "10:15:00", "b": "\\u003a"}') == {"a": "10:15:00", "b": ":"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": 1, "\\u0061": 1}',
        b'{"o": {"a": 1, "a": 1}}',
        b'{"l": [{"a": 1, "a": 1}]}',
        b'{"l": [[{"o": {"a": 1, "a": 1}}]]}',
        b'{"a": {"b": 1, "c": 2}, "a": {}}',
        b'{"a": 1, "a": "\\u003a", "b": 1}',
    ],
)
def test_a_name_that_stands_twice_is_seen(body: bytes) -> None:
    """At any depth, in lists, escaped, and however many colons are written as escapes."""
    assert json_object(body) is None


@pytest.mark.parametrize("result", list(Result))
def test_a_status_alone_is_neither_success_nor_permanent(result: Result) -> None:
    """Whatever a table says: anybody on the way may answer with a status."""
    answer, codes = Answer(200, {}, b""), CodeTable({"200": result})
    outcome = judge(answer, bare(answer, codes), codes, Mask())
    is_believed = result not in {Result.DELIVERED, Result.PERMANENT}
    assert outcome.result is (result if is_believed else Result.UNKNOWN)


@pytest.mark.parametrize(
    ("value", "said"),
    [("1900", "1900"), (1900, "1900"), (-10, "-10"), (True, ""), (1.0, ""), (None, ""), ([1], "")],
)
def test_a_code_may_be_a_number(value: object, said: str) -> None:
    """A whole number reads as its digits; nothing else is a code."""
    assert code({"code": value}, "code") == said


@pytest.mark.parametrize("mark", ["x-amzn-waf-action", "cf-mitigated"])
def test_success_may_not_be_somebody_elses(mark: str) -> None:
    """A firewall's challenge can be an empty 202; the suite for every provider tries all marks."""
    empty = {"content-length": "0"}
    assert recorded(Answer(202, empty | {"via": "1.1 proxy"}, b"")) is not None
    assert recorded(Answer(202, empty | {mark: "challenge"}, b"")) is None


@pytest.mark.parametrize(
    ("status", "headers", "whole"),
    [
        (202, {}, False),
        (202, {"connection": "close"}, False),
        (202, {"content-length": "0"}, True),
        (202, {"transfer-encoding": "chunked"}, True),
        (204, {}, True),
    ],
)
def test_an_answer_without_a_byte_has_to_say_so(status: int, headers: dict[str, str], whole: bool) -> None:
    """One that ends with its connection may have been cut off before its body came."""
    assert (recorded(Answer(status, headers, b"")) is not None) is whole
    assert recorded(Answer(status, headers, b"OK")) is not None


@pytest.mark.parametrize("later", ["Wed, 21 Oct 2015 07:28:00 {}", "Wed, 21 {} 2015 07:28:00", "{} Oct 2015"])
@pytest.mark.parametrize("odd", ["+" + "9" * 5000, "9" * 400, "-0000", "+9999"])
def test_a_date_that_is_none(later: str, odd: str) -> None:
    """It says nothing of when to try again, whatever the parser of dates makes of it."""
    good = "Wed, 21 Oct 2015 07:27:30 GMT"
    odd_one = f"{later.format(odd)} GMT"
    for headers in ({"retry-after": odd_one, "date": good}, {"retry-after": good, "date": odd_one}):
        outcome = judge(Answer(429, headers, b""), None, CodeTable({}), Mask())
        assert outcome.retry_after is None or 0 <= outcome.retry_after <= 3600


def test_a_status_alone_has_next_to_no_body() -> None:
    """A longer text is a page of somebody's."""
    codes = CodeTable({"402": Result.ACCOUNT})
    assert bare(Answer(402, {}, b"x" * 200), codes) is not None
    for body in (b"x" * 201, b"<html>", b"\n <?xml"):
        assert bare(Answer(402, {}, body), codes) is None
