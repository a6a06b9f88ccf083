"""The message: what we write, byte for byte."""

import base64
import json
import re

import pytest
from hypothesis import given
from pydantic_core import to_json

from otpreport import Dispatch, Verification
from otpreport.wire import encode, encode_noted, notice, queue_keys, queue_name
from tests.unit.otpreport.test_dispatch import dispatches
from tests.unit.otpreport.test_event import NOON, events

ENVELOPE = (
    '{"body":"BODY","content-encoding":"utf-8","content-type":"application/json",'
    '"headers":{"lang":"py","task":"otpreport.report","id":"ID","root_id":"ID","parent_id":null,'
    '"group":null,"retries":0,"timelimit":[null,null],"eta":null,"expires":null,"argsrepr":"()","kwargsrepr":"{}"},'
    '"properties":{"correlation_id":"ID","reply_to":"","delivery_mode":2,'
    '"delivery_info":{"exchange":"","routing_key":"otpreport.tencent"},"priority":0,'
    '"body_encoding":"base64","delivery_tag":"ID"}}'
)
BODY = (
    '[[],{"event":{"account":"tencent","message_id":"2640:\\"é\\u001f\\n","occurred_at":1777636800000,'
    '"verified":false,"sent_at":1777636800000,"app_id":"1400000001"}},'
    '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'
)


def body(message: bytes) -> bytes:
    """Return the body of a message."""
    return base64.b64decode(json.loads(message)["body"], validate=True)


def test_the_message_stays_what_it_is() -> None:
    """Workers of any version, and stock Celery, read these bytes."""
    event = Verification(
        account="tencent",
        message_id='2640:"é\x1f\n',
        occurred_at=NOON,
        verified=False,
        sent_at=NOON,
        app_id="1400000001",
    )
    written = encode(event, task_id="7f")
    assert body(written).decode() == BODY
    encoded = base64.b64encode(BODY.encode()).decode()
    assert written.decode() == ENVELOPE.replace("BODY", encoded).replace("ID", "7f")


@given(events)
def test_the_event_is_what_to_wire_says(event: Verification) -> None:
    """Whatever its texts hold, an event is written as the JSON of `to_wire()`, that of a subclass, too."""
    kind = type("Mine", (Verification,), {})
    wire = to_json(event.to_wire())
    assert body(encode(event, task_id="7f")).startswith(b'[[],{"event":%b},' % wire)
    mine = kind(**event.model_dump())
    assert body(encode(mine, task_id="7f")) == body(encode(event, task_id="7f"))


def test_queue_keys() -> None:
    """Each queue has one list per priority step: the plain name, then 0x06 0x16 and the step."""
    assert queue_name("tencent") == "otpreport.tencent"
    assert queue_keys("app:", "tencent") == (
        "app:otpreport.tencent",
        "app:otpreport.tencent\x06\x163",
        "app:otpreport.tencent\x06\x166",
        "app:otpreport.tencent\x06\x169",
    )


def test_a_report_whose_notice_is_written_says_so() -> None:
    """One header more, after the others, and nothing else."""
    event = Verification(account="tencent", message_id="m", occurred_at=NOON)
    plain, noted = encode(event, task_id="7f"), encode(event, task_id="7f", noted=True)
    assert noted == plain.replace(b'"kwargsrepr":"{}"}', b'"kwargsrepr":"{}","noted":1}')
    assert json.loads(noted)["headers"] == json.loads(plain)["headers"] | {"noted": 1}


@given(events)
def test_both_are_what_each_is_alone(event: Verification) -> None:
    """The message and the notice that are written together."""
    assert encode_noted(event, task_id="7f") == (encode(event, task_id="7f", noted=True), notice(event))


def test_the_notices_stay_what_they_are() -> None:
    """Trackers of any version read these bytes."""
    sent = Dispatch(account="tencent", message_id="2640:1", sent_at=NOON, expires_in=300, country="SG")
    verified = Verification(account="tencent", message_id="26\n4 0:é\0", occurred_at=NOON)
    assert notice(sent) == b"sent 1777636800000 300 SG 2640:1"
    assert notice(verified) == "verified 1777636800000 26\n4 0:é\0".encode()
    assert notice(Dispatch(account="a", message_id="m", sent_at=NOON)) == b"sent 1777636800000 600 ZZ m"


@given(events, dispatches)
def test_a_notice_holds_all(event: Verification, sent: Dispatch) -> None:
    """Whatever character an id has, a notice can be taken apart again."""
    told = re.fullmatch(rb"sent (\d+) (\d+) ([A-Z]{2}) (.+)", notice(sent), re.DOTALL)
    assert told is not None
    assert int(told[1]) == sent.sent_at_ms
    assert int(told[2]) == sent.expires_in
    assert (told[3].decode(), told[4].decode()) == (sent.country, sent.message_id)
    told = re.fullmatch(rb"verified (\d+) (.+)", notice(event), re.DOTALL)
    assert told is not None
    assert (int(told[1]), told[2].decode()) == (event.occurred_at_ms, event.message_id)


@pytest.mark.parametrize(
    "wrong",
    [{"message_id": "\ud800"}, {"message_id": 7}, {"country": "sg"}, {"expires_in": 7}, {"sent_at": None}],
)
def test_no_notice_of_what_is_wrong(wrong: dict[str, object]) -> None:
    """What nothing checked is checked where it is written: a tracker would only bury it."""
    sent = Dispatch(account="tencent", message_id="m", sent_at=NOON)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        notice(sent.model_copy(update=wrong))
