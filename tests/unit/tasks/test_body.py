"""What can be read of a message that is wrong."""

from base64 import b64encode

import orjson
import pytest

from tasks.body import body_of, message_ids
from tests.support.leased import message

WRONG = {
    "a good one": (message({"event": {"message_id": "5000:1"}}), {"5000:1"}),
    "a number": (message({"event": {"message_id": 50001}}), {"50001"}),
    "two": (message({"a": {"message_id": "1"}, "b": [{"message_id": "2"}]}), {"1", "2"}),
    "no base64": (b'{"body": "[{\\"message_id\\": \\"5000:1\\"}]"}', {"5000:1"}),
    "no body": (b'{"message_id": "5000:1"}', {"5000:1"}),
    "cut": (b'{"body": "' + b64encode(b'[[],{"message_id":"5000:1","x":"')[:-2], {"5000:1"}),
    "cut JSON": (b'{"message_id": "5000:\\u0031", "more": "x', {"5000:1"}),
    "a bad escape": (b'{"message_id": "5000:\\x31", "more": "x', {"5000:\\x31"}),
    "no JSON": (b"\xff\x00 5000:1", set[str]()),
    "nothing": (b"", set[str]()),
    "half a surrogate pair": (b'{"body": "\\ud800"}', set[str]()),
}


DEPTHS = (200, 250, 300, 990, 1023, 1024, 100_000)
"""Around the bounds of orjson, which reads 1024 levels and writes 254, and of Python's stack."""


@pytest.mark.parametrize(("raw", "ids"), WRONG.values(), ids=WRONG)
def test_every_message_id_is_read(raw: bytes, ids: set[str]) -> None:
    """However wrong a message is, whoever looks for its message id finds it; nothing is raised."""
    assert message_ids(raw) == ids


def test_the_body_is_what_a_person_wants_to_see() -> None:
    """Decoded from base64; of a message without a body the message; nothing where nothing is JSON."""
    assert body_of(message({"event": {"a": 1}})) == [[], {"event": {"a": 1}}, {}]
    assert body_of(b'{"a": 1}') == {"a": 1}
    assert body_of(b"no JSON") is None


@pytest.mark.parametrize("depth", DEPTHS)
def test_nesting_of_any_depth_stops_nobody_who_looks(depth: int) -> None:
    """One such message among many: its id is found, and what is shown of its body can be written into an export."""
    nested = b"[" * depth + b'{"message_id": "5000:1"}' + b"]" * depth
    for raw in (nested, b'{"body": "' + b64encode(nested) + b'"}'):
        assert message_ids(raw) == {"5000:1"}
        orjson.dumps({"places": [{"letter": {"body": body_of(raw)}}]})
