"""The message: what we write, byte for byte."""

import base64
import json

from hypothesis import given
from pydantic_core import to_json

from otpreport import Verification
from otpreport.wire import encode, queue_keys, queue_name
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
