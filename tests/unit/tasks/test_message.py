"""The message: that we read what we and others write, and what we refuse to read."""

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from otpreport import Verification
from otpreport.wire import encode
from tasks.message import MalformedMessage, decode
from tasks.shared import MAX_BYTES
from tests.unit.otpreport.test_event import NOON, events, moments

EVENT = Verification(account="tencent", message_id="2640:1", occurred_at=NOON)

# What app.send_task() of Celery 5.7.0 wrote: with countdown and expires.
STOCK = (
    '{"body": "W1tdLCB7ImV2ZW50IjogeyJhY2NvdW50IjogInRlbmNlbnQifX0sIHsiY2FsbGJhY2tzIjogbnVsbCwgImVycmJhY2tzIj'
    'ogbnVsbCwgImNoYWluIjogbnVsbCwgImNob3JkIjogbnVsbH1d", "content-encoding": "utf-8", "content-type": '
    '"application/json", "headers": {"lang": "py", "task": "otpreport.report", "id": '
    '"f74ec541-df42-4cd2-ab72-a970a16ce21c", "shadow": null, "eta": "2026-11-22T01:47:46.428154+00:00", '
    '"expires": "2026-11-22T01:49:16.428154+00:00", "group": null, "group_index": null, "retries": 0, '
    '"timelimit": [null, null], "root_id": "f74ec541-df42-4cd2-ab72-a970a16ce21c", "parent_id": null, '
    '"argsrepr": "()", "kwargsrepr": "{\'event\': {\'account\': \'tencent\'}}", "origin": "gen5023@vm", '
    '"ignore_result": null, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}, '
    '"properties": {"correlation_id": "f74ec541-df42-4cd2-ab72-a970a16ce21c", "reply_to": '
    '"a095060e-ccb4-3633-ad45-747b79f0d44e", "delivery_mode": 2, "expiration": "100000", "delivery_info": '
    '{"exchange": "", "routing_key": "otpreport.tencent"}, "priority": 0, "body_encoding": "base64", '
    '"delivery_tag": "30631fc7-b979-4384-8bb7-d13f185ad68d"}}'
)


def message(parts: Mapping[str, object] | None = None, headers: Mapping[str, object] | None = None) -> bytes:
    """Return a good message with some parts and headers replaced."""
    good: dict[str, object] = json.loads(encode(EVENT, task_id="t"))
    old = cast("dict[str, object]", good["headers"])
    return json.dumps({**good, "headers": {**old, **(headers or {})}, **(parts or {})}).encode()


def body(text: str) -> bytes:
    """Return a good message with another body."""
    return message({"body": base64.b64encode(text.encode()).decode()})


@given(events, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_round_trip(event: Verification, task_id: str) -> None:
    """A message we wrote reads as our task with our event, whatever its texts hold."""
    task = decode(encode(event, task_id=task_id))
    assert (task.task, task.task_id, task.args) == ("otpreport.report", task_id, [])
    assert task.kwargs == {"event": event.to_wire()}
    assert (task.eta_ms, task.expires_ms) == (None, None)


def test_stock_message() -> None:
    """What a stock Celery app wrote is read, its times included."""
    task = decode(STOCK.encode())
    assert task.task_id == "f74ec541-df42-4cd2-ab72-a970a16ce21c"
    assert task.kwargs == {"event": {"account": "tencent"}}
    assert (task.eta_ms, task.expires_ms) == (1795312066428, 1795312156428)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01T12:00:00Z", 1777636800000),
        ("2026-05-01T12:00:00z", 1777636800000),
        ("2026-05-01T14:00:00.5+02:00", 1777636800500),
        ("0001-01-01T00:00:00+14:00", -62135647200000),
        ("9999-12-31T23:59:59-14:00", 253402351199000),
    ],
)
def test_times(text: str, expected: int) -> None:
    """Every ISO 8601 time a producer may write is read to the millisecond."""
    task = decode(message(headers={"eta": text, "expires": text}))
    assert (task.eta_ms, task.expires_ms) == (expected, expected)


@pytest.mark.parametrize("name", ["eta", "expires"])
def test_a_time_without_a_zone_is_ignored(name: str) -> None:
    """Celery writes a producer's local time without its zone: nobody knows which moment it is."""
    task = decode(message(headers={name: "2026-05-01T12:00:00"}))
    assert (task.eta_ms, task.expires_ms, task.ignored) == (None, None, (name,))


@pytest.mark.parametrize(
    ("embed", "headers", "ignored"),
    [
        ({"callbacks": None, "errbacks": None, "chain": None, "chord": None}, {}, ()),
        ({}, {}, ()),
        (None, {}, ()),
        ({"chain": [], "callbacks": []}, {"group": "", "ignore_result": None}, ()),
        ({"chain": [{"task": "shop.reported"}]}, {}, ("chain",)),
        ({"callbacks": [{"task": "a"}], "errbacks": [{"task": "b"}]}, {}, ("link", "link_error")),
        ({"chord": {"task": "a"}}, {"group": "g"}, ("chord", "group")),
        ({}, {"ignore_result": False}, ("result",)),
        ({}, {"ignore_result": True, "reply_to": "r"}, ()),
        ({"eta": "2026-05-01T12:00:00"}, {"eta": "2026-05-01T12:00:00"}, ("eta",)),
        ("nonsense", {"expires": "2026-05-01T12:00:00"}, ("expires",)),
    ],
)
def test_what_is_asked_for_in_vain(embed: object, headers: dict[str, object], ignored: object) -> None:
    """What was to follow the report is noted, each once; what every Celery message has is no request."""
    text = json.dumps([[], {"event": {}}, embed])
    assert decode(message({"body": base64.b64encode(text.encode()).decode()}, headers)).ignored == ignored


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "us-ascii", "binary"])
def test_encodings_of_json(encoding: str) -> None:
    """JSON is UTF-8, whichever of these a producer calls it."""
    assert decode(message({"content-encoding": encoding})).kwargs == {"event": EVENT.to_wire()}


OLD: dict[str, object] = {"id": "i", "task": "otpreport.report", "args": [], "kwargs": {"event": {"a": 1}}}


def old_message(changes: Mapping[str, object], parts: Mapping[str, object] | None = None) -> bytes:
    """Return a message of protocol 1."""
    text = json.dumps({name: value for name, value in {**OLD, **changes}.items() if value != "left out"})
    no_headers: dict[str, object] = {"headers": {}, "body": base64.b64encode(text.encode()).decode()}
    return message({**no_headers, **(parts or {})})


@pytest.mark.parametrize(
    "headers", [{}, None, [], {"id": None, "task": None}, {"id": "x"}, {"task": "other"}]
)
def test_protocol_1(headers: object) -> None:
    """A message whose headers do not name a task is read from the object in its body."""
    task = decode(old_message({"eta": "2026-05-01T12:00:00Z", "utc": True}, {"headers": headers}))
    assert (task.task_id, task.task, task.args) == ("i", "otpreport.report", [])
    assert (task.kwargs, task.eta_ms, task.expires_ms) == ({"event": {"a": 1}}, 1777636800000, None)
    assert task.ignored == ()


def test_celery_of_php_and_of_go() -> None:
    """What the usual clients write: one calls its body binary and has a list of headers, the other has none."""
    body = base64.b64encode(json.dumps({**OLD, "args": [{"a": 1}], "kwargs": {}}).encode()).decode()
    common = {"body": body, "content-type": "application/json"}
    properties = {"body_encoding": "base64", "reply_to": "r", "delivery_mode": 2, "delivery_tag": "d"}
    php: dict[str, object] = {**common, "headers": [], "content-encoding": "binary", "properties": properties}
    go: dict[str, object] = {
        **common,
        "content-encoding": "utf-8",
        "properties": {**properties, "correlation_id": "c"},
    }
    for written in (php, go):
        assert decode(json.dumps(written).encode()).args == [{"a": 1}]


@pytest.mark.parametrize(
    ("changes", "ignored"),
    [
        ({"taskset": "g", "chord": {"task": "a"}, "callbacks": [{"task": "b"}]}, ("chord", "link", "group")),
        ({"errbacks": [{"task": "b"}], "expires": "2026-05-01T12:00:00"}, ("link_error", "expires")),
        ({"args": None, "kwargs": None, "eta": None}, ()),
        ({"args": "left out", "kwargs": "left out"}, ()),
    ],
)
def test_options_of_protocol_1(changes: dict[str, object], ignored: object) -> None:
    """Its options are in the same object, under their old names, and may be left out."""
    assert decode(old_message(changes)).ignored == ignored


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (old_message({"id": "left out"}), "body.id is not a text: not protocol 1"),
        (old_message({"task": 7}), "body.task is not a text: not protocol 1"),
        (old_message({"args": {"event": 1}}), "args is not a list"),
        (old_message({"kwargs": [1]}), "kwargs is not a JSON object"),
        (old_message({"eta": 60}), "body.eta is not an ISO 8601 time"),
        (old_message({}, {"headers": {"id": "i", "task": "t"}}), "body is not a list: not protocol 2"),
        (old_message({}, {"content-type": "application/x-yaml"}), "content-type"),
        (old_message({}, {"headers": {"compression": "application/x-gzip"}}), "compressed"),
        (
            old_message({}, {"headers": {}, "body": "W1tdLCB7fSwge31d"}),
            "headers.id is not a text: not protocol 2",
        ),
        (old_message({}, {"headers": None, "body": "W10="}), "headers is not a JSON object"),
    ],
)
def test_malformed_protocol_1(raw: bytes, reason: str) -> None:
    """What is wrong in it is named in the same words; protocol 2 that is broken is not taken for it."""
    with pytest.raises(MalformedMessage, match=reason):
        decode(raw)


def test_body_without_base64() -> None:
    """A producer may switch kombu's base64 off."""
    raw = message({"properties": {}})
    envelope: dict[str, Any] = json.loads(raw)
    envelope["body"] = base64.b64decode(envelope["body"]).decode()
    assert decode(json.dumps(envelope).encode()).kwargs == {"event": EVENT.to_wire()}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "headers is not"),
        (b'{"headers": {}} x', "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b" " * (MAX_BYTES + 1), "more than 65536"),
        (message(headers={"task": None}), "headers.task"),
        (message(headers={"id": ""}), "headers.id"),
        (message(headers={"eta": "soon"}), "headers.eta"),
        (message(headers={"expires": 60}), "headers.expires"),
        (message(headers={"compression": "application/x-gzip"}), "compressed: 'application/x-gzip'$"),
        (
            message({"content-type": "application/x-python-serialize"}),
            r"serialize' \(pickle\), not application",
        ),
        (
            message({"content-type": "application/x-msgpack"}),
            r"x-msgpack' \(msgpack\), not application/json$",
        ),
        (
            message({"content-type": "application/json; charset=utf-8"}),
            "is 'application/json; charset=utf-8', not",
        ),
        (message({"content-type": "x" * 999}), f"is '{'x' * 100}', not application/json$"),
        (message({"content-type": None}), "content-type is missing, not application/json"),
        (message({"content-type": 7}), "content-type is no text, not application/json"),
        (message({"content-encoding": "utf-16"}), "content-encoding is 'utf-16', not utf-8"),
        (message({"content-encoding": "?"}).replace(b'"?"', b"[" * 1000 + b"]" * 1000), "content-encoding"),
        (message({"properties": []}), "properties"),
        (message({"properties": {"body_encoding": "rot13"}}), "body_encoding"),
        (body('{"task": "otpreport.report"}'), "not protocol 2"),
        (body("[[], {}]"), "args, kwargs, embed"),
        (body("[{}, {}, {}]"), "args"),
        (body("[[], [], {}]"), "kwargs"),
        (message({"body": 7}), "body is not a string"),
        (message({"body": "~~~"}), "not base64"),
        (message({"body": "bm8="}), "body is not JSON"),
        (body("[[], {}, NaN]"), "body is not JSON: expected value"),
        (body('[[], {"event": Infinity}, {}]'), "body is not JSON: expected value"),
        (body('[[], {"event": "\\ud800"}, {}]'), "body is not JSON: unexpected end of hex escape"),
    ],
)
def test_malformed(raw: bytes, reason: str) -> None:
    """What is no task message for us is refused with a reason, and is no crash."""
    with pytest.raises(MalformedMessage, match=reason) as caught:
        decode(raw)
    assert caught.value.reason == str(caught.value)


def values(integers: st.SearchStrategy[int]) -> st.SearchStrategy[object]:
    """Return JSON values."""
    return st.recursive(
        st.none() | st.booleans() | integers | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
        max_leaves=20,
    )


json_values = values(st.integers())


@given(st.binary(max_size=500) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(raw: bytes) -> None:
    """Whatever lies on a queue either is a message or is malformed: no other exception."""
    with pytest.raises(MalformedMessage):
        decode(raw)


@given(st.dictionaries(st.text(max_size=5), values(st.integers(-(2**63), 2**64 - 1)), max_size=3))
def test_a_body_is_read_as_the_stricter_reader_reads_it(kwargs: dict[str, object]) -> None:
    """Names, texts and numbers, to 64 bits, are those of pydantic's reader, and so is what it refuses."""
    text = json.dumps([[], kwargs, {}])
    try:
        expected = from_json(text, allow_inf_nan=False)[1]
    except ValueError:
        with pytest.raises(MalformedMessage, match="body is not JSON"):
            decode(body(text))
    else:
        assert decode(body(text)).kwargs == expected


@pytest.mark.parametrize("number", [2**64 - 1, 2**64, 10**400, -(10**400)])
def test_a_long_integer_spoils_nothing(number: int) -> None:
    """A field that we do not know may hold an integer of any length."""
    event = EVENT.to_wire() | {"serial": number}
    read = cast("dict[str, object]", decode(body(json.dumps([[], {"event": event}, {}]))).kwargs["event"])
    assert Verification.from_wire(read) == EVENT


def reads_or_is_malformed(raw: bytes) -> None:
    """Let anything but MalformedMessage through."""
    with suppress(MalformedMessage):
        decode(raw)


@given(st.sampled_from(["body", "headers", "properties", "content-type", "content-encoding"]), json_values)
def test_any_part(part: str, value: object) -> None:
    """A message with any one part replaced either is a message or is malformed: no other exception."""
    reads_or_is_malformed(message({part: value}))


@given(st.sampled_from(["task", "id", "eta", "expires", "compression"]), json_values)
def test_any_header(header: str, value: object) -> None:
    """A message with any one header replaced either is a message or is malformed."""
    reads_or_is_malformed(message(headers={header: value}))


@given(st.sampled_from(["id", "task", "args", "kwargs", "eta", "taskset", "callbacks"]), json_values)
def test_any_part_of_protocol_1(part: str, value: object) -> None:
    """A message of protocol 1 with any one part replaced either is a message or is malformed."""
    reads_or_is_malformed(old_message({part: value}))


@given(json_values)
def test_any_body(value: object) -> None:
    """A message with any JSON as its body either is a message or is malformed."""
    reads_or_is_malformed(body(json.dumps(value)))


@given(st.text(max_size=40) | moments.map(datetime.isoformat))
def test_any_time(text: str) -> None:
    """A message with any text as its eta either is a message or is malformed."""
    reads_or_is_malformed(message(headers={"eta": text}))
