"""The message on the queue: a plain Celery task message (protocol 2, JSON) as kombu lays it into Redis.

Source: https://docs.celeryq.dev/en/stable/internals/protocol.html and kombu's virtual transport. `tasks/message.py`
reads it.
"""

from __future__ import annotations

from binascii import b2a_base64
from json import JSONEncoder
from json.encoder import encode_basestring as _text

from otpreport.event import LONGEST, Dispatch, Event, Verification, is_account, milliseconds

TASK = "otpreport.report"
SENT_TASK = "otpreport.sent"
"""The task by which producers without our client tell of an OTP that was sent: `kwargs={"otp": Dispatch.to_wire()}`."""
NOTICES = ".otps"
"""What the name of an account's list of notices ends in, after its queue's: no account's name has a dot."""
PRIORITY_STEPS = (0, 3, 6, 9)
"""kombu keeps one list per step; step 0 has the queue's own name."""
PRIORITY_SUFFIXES = tuple(f"\x06\x16{step}" if step else "" for step in PRIORITY_STEPS)
"""What the names of the lists end in, the most urgent first."""

_NOTED = ',"noted":1'
EMBED = '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}'
"""What follows the task, in Celery's words: nothing."""

_subclass_json = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def queue_name(account: str) -> str:
    """Return the Celery queue of an account."""
    return f"otpreport.{account}"


def queue_keys(prefix: str, account: str) -> tuple[str, ...]:
    """Return the Redis lists of an account's queue, one per priority step, the most urgent first."""
    name = prefix + queue_name(account)
    return tuple(name + suffix for suffix in PRIORITY_SUFFIXES)


def notice(event: Event) -> bytes:
    """Return what the tracker of OTPs reads: one text; an error of any kind for an invalid event.

    `sent <sent_at, ms> <expires_in, s> <country> <message_id>` or `verified <occurred_at, ms> <message_id>`. The id
    comes last, as it may have any character; the country is what the app gave, and the tracker's to look up.
    """
    if isinstance(event, Verification):
        return _verified(event, milliseconds(event.occurred_at))
    Dispatch(**event.model_dump())  # one that nothing checked would be rubbish to the tracker
    sent_at = milliseconds(event.sent_at)
    return f"sent {sent_at} {event.expires_in} {event.country} {event.message_id}".encode()


def encode(event: Verification, *, task_id: str, noted: bool = False) -> bytes:
    """Return the message for a Redis list of the event's account; an error of any kind for an invalid event.

    `noted` says that its sender writes the event's notice, too, so that no worker does.
    """
    return _message(event, milliseconds(event.occurred_at), task_id, noted)


def encode_noted(event: Verification, *, task_id: str) -> tuple[bytes, bytes]:
    """Return the message of a verified event, as noted, and its notice; an error of any kind for an invalid event."""
    occurred_at = milliseconds(event.occurred_at)
    return _message(event, occurred_at, task_id, noted=True), _verified(event, occurred_at)


def _verified(event: Verification, occurred_at: int) -> bytes:
    return f"verified {occurred_at} {event.message_id}".encode()


def _message(event: Verification, occurred_at: int, task_id: str, noted: bool) -> bytes:
    flag: object = event.verified
    if type(flag) is not bool or not is_account(event.account) or not 0 < len(event.message_id) <= LONGEST:
        Verification(**event.model_dump())  # nothing has checked this one; it raises
    fields = _event(event, occurred_at) if type(event) is Verification else _subclass_json(event.to_wire())
    body = b2a_base64(f'[[],{{"event":{fields}}},{EMBED}]'.encode(), newline=False).decode()
    quoted = _text(task_id)
    # delivery_tag repeats the task id: a message written twice is then one message for a stock worker, too.
    return (
        f'{{"body":"{body}","content-encoding":"utf-8","content-type":"application/json",'
        f'"headers":{{"lang":"py","task":"otpreport.report","id":{quoted},"root_id":{quoted},"parent_id":null,'
        f'"group":null,"retries":0,"timelimit":[null,null],"eta":null,"expires":null,"argsrepr":"()",'
        f'"kwargsrepr":"{{}}"{_NOTED if noted else ""}}},'
        f'"properties":{{"correlation_id":{quoted},"reply_to":"","delivery_mode":2,'
        f'"delivery_info":{{"exchange":"","routing_key":"otpreport.{event.account}"}},"priority":0,'
        f'"body_encoding":"base64","delivery_tag":{quoted}}}}}'
    ).encode()


def _event(event: Verification, occurred_at: int) -> str:
    """Return `to_wire()` as JSON; a dict on the way, and formats with `%`, would take twice as long."""
    wire = (
        f'"account":{_text(event.account)},"message_id":{_text(event.message_id)},'
        f'"occurred_at":{occurred_at},"verified":{"true" if event.verified else "false"}'
    )
    if event.sent_at is not None:
        wire = f'{wire},"sent_at":{milliseconds(event.sent_at)}'
    if event.app_id is not None:
        wire = f'{wire},"app_id":{_text(event.app_id)}'
    return f"{{{wire}}}"
