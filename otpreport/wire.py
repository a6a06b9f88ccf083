"""The message on the queue: a plain Celery task message (protocol 2, JSON) as kombu lays it into Redis.

Source: https://docs.celeryq.dev/en/stable/internals/protocol.html and kombu's virtual transport. `tasks/message.py`
reads it.
"""

from __future__ import annotations

from binascii import b2a_base64
from json import JSONEncoder

from otpreport.event import Verification, milliseconds

TASK = "otpreport.report"
PRIORITY_STEPS = (0, 3, 6, 9)
"""kombu keeps one list per step; step 0 has the queue's own name."""

# delivery_tag repeats the task id: a message written twice is then one message for a stock worker, too.
_ENVELOPE = (
    b'{"body":"%(body)b","content-encoding":"utf-8","content-type":"application/json",'
    b'"headers":{"lang":"py","task":"otpreport.report","id":%(id)b,"root_id":%(id)b,"parent_id":null,'
    b'"group":null,"retries":0,"timelimit":[null,null],"eta":null,"expires":null,"argsrepr":"()",'
    b'"kwargsrepr":"{}"},"properties":{"correlation_id":%(id)b,"reply_to":"","delivery_mode":2,'
    b'"delivery_info":{"exchange":"","routing_key":"otpreport.%(account)b"},"priority":0,'
    b'"body_encoding":"base64","delivery_tag":%(id)b}}'
)
_BODY = '[[],{"event":%s},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'

_EVENT = '{"account":%s,"message_id":%s,"occurred_at":%d,"verified":%s%s%s}'

_json = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def queue_name(account: str) -> str:
    """Return the Celery queue of an account."""
    return f"otpreport.{account}"


def queue_keys(prefix: str, account: str) -> tuple[str, ...]:
    """Return the Redis lists of an account's queue, one per priority step, the most urgent first."""
    name = prefix + queue_name(account)
    return tuple(f"{name}\x06\x16{step}" if step else name for step in PRIORITY_STEPS)


def encode(event: Verification, *, task_id: str) -> bytes:
    """Return the message for a Redis list of the event's account; an error of any kind for an invalid event."""
    fields = _event(event) if type(event) is Verification else _json(event.to_wire())
    return _ENVELOPE % {
        b"body": b2a_base64((_BODY % fields).encode(), newline=False),
        b"id": _json(task_id).encode(),
        b"account": event.account.encode(),
    }


def _event(event: Verification) -> str:
    """Return `to_wire()` as JSON, in a third of the time that a dict of it takes."""
    sent_at, app_id = event.sent_at, event.app_id
    return _EVENT % (
        _json(event.account),
        _json(event.message_id),
        milliseconds(event.occurred_at),
        "true" if event.verified else "false",
        "" if sent_at is None else f',"sent_at":{milliseconds(sent_at)}',
        "" if app_id is None else f',"app_id":{_json(app_id)}',
    )
