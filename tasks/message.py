"""Parse a message of the queue: any plain Celery task message (JSON, protocol 2 or 1) as kombu writes it to Redis.

Source: https://docs.celeryq.dev/en/stable/internals/protocol.html and kombu's virtual transport.
"""

from __future__ import annotations

from binascii import a2b_base64
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TypeAlias, cast

import orjson
from pydantic_core import from_json

from otpreport.errors import OtpreportError
from otpreport.event import FIELDS, Verification, milliseconds
from otpreport.wire import EMBED, encode
from tasks.shared import MAX_BYTES

Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | bool | None"

IGNORED = {
    "chain": "chain",
    "chord": "chord",
    "callbacks": "link",
    "errbacks": "link_error",
    "group": "group",
    "taskset": "group",  # its name in protocol 1
}
"""What a message may ask for beside the report, and the option of Celery that does so."""
OPTIONS = ("chain", "chord", "eta", "expires", "group", "link", "link_error", "result")
"""The options that may be ignored: those that ask for more, and times without a zone."""

_NOTHING_FOLLOWS: dict[str, Json] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_SERIALIZERS = {
    "application/x-python-serialize": "pickle",
    "application/x-yaml": "yaml",
    "application/x-msgpack": "msgpack",
    "application/data": "auth",
}
"""Serializers of Celery that are not read, by the content-type that kombu writes."""
_HEAD, _ID = b'{"body":"', slice(-35, -3)
"""Where the body of a message of our client begins, and where its id is at the end."""
_BEFORE, _AFTER = b'[[],{"event":{', f"}}}},{EMBED}]".encode()
"""How its body begins and ends."""
_EVENT = slice(len(_BEFORE) - 1, 1 - len(_AFTER))
"""Where the event is in its body, braces included."""
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "binary"})
"""What a content-encoding may say; celery-php calls its JSON binary, and kombu reads that as UTF-8, too."""


class MalformedMessage(OtpreportError, ValueError):  # noqa: N818 - the dead letter says what it is
    """Bytes on a queue that are not a task message we can read; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)  # plain: one is made for each report
class Task:
    """A task message as any Celery producer may have sent it; times are UNIX milliseconds."""

    task_id: str
    task: str
    args: list[Json]
    kwargs: dict[str, Json]
    eta_ms: int | None = None
    expires_ms: int | None = None
    ignored: tuple[str, ...] = ()
    """Which of `OPTIONS` it has that are ignored."""
    noted: bool = False
    """Whether its sender told the tracker of OTPs itself, which our client says in a header."""


def decode(raw: bytes) -> Task:
    """Read a message; MalformedMessage for anything but a JSON task message."""
    if len(raw) > MAX_BYTES:
        raise MalformedMessage(f"the message has {len(raw)} bytes, more than {MAX_BYTES}")
    envelope = _json_object(_json(raw, "the message"), "the message")
    try:
        return _protocol_2(envelope)
    except MalformedMessage as error:
        headers = envelope.get("headers")
        headers = headers if isinstance(headers, dict) else {}
        if "body" not in envelope or (headers.get("id") and headers.get("task")):
            raise
        return _protocol_1(_body(envelope, headers), error)


def of_our_client(raw: bytes, account: str) -> tuple[Verification, bool] | None:
    """Return the event of a message as our client writes them, and whether it is noted; None for any other message.

    Only the id and the event differ, so nothing else is parsed. What it accepts `decode` reads as the same: the rest is
    the text that `encode` writes, to the byte, and the event is valid as it is, with no fields that are not its own.
    """
    task_id = raw[_ID]
    if not (raw.startswith(_HEAD) and task_id.isalnum() and len(raw) <= MAX_BYTES):
        return None
    for noted, texts in _after_body(account):
        after = task_id.join(texts)
        if raw.endswith(after):
            event = _our_event(raw[len(_HEAD) : -len(after)])
            return (event, noted) if event is not None and event.account == account else None
    return None


def _our_event(text: bytes) -> Verification | None:
    try:
        body = a2b_base64(text, strict_mode=True)
        fields = orjson.loads(body[_EVENT])
        if body.startswith(_BEFORE) and body.endswith(_AFTER) and FIELDS.issuperset(fields):
            return Verification(**fields)
    except ValueError:
        pass  # `decode` says what is wrong
    return None


@cache  # one for each account of the worker
def _after_body(account: str) -> tuple[tuple[bool, list[bytes]], ...]:
    """Return the texts around the ids after the body, of a message that is not noted and of one that is."""
    event, task_id = Verification(account=account, message_id="1", occurred_at=datetime.now(UTC)), "0" * 32
    written = ((noted, encode(event, task_id=task_id, noted=noted)) for noted in (False, True))
    return tuple(
        (noted, raw[raw.index(b'"', len(_HEAD)) :].split(task_id.encode())) for noted, raw in written
    )


def _protocol_2(envelope: dict[str, Json]) -> Task:
    """Read a message with the task in its headers and `[args, kwargs, embed]` as its body."""
    headers = _json_object(envelope.get("headers"), "headers")
    args, kwargs, embed = _payload(_body(envelope, headers))
    task = Task(_text(headers, "id"), _text(headers, "task"), args, kwargs)
    if (
        embed != _NOTHING_FOLLOWS
        or headers.get("eta") is not None
        or headers.get("expires") is not None
        or headers.get("group") is not None
        or headers.get("ignore_result") is False
    ):
        _heed(task, headers | embed if isinstance(embed, dict) else headers, "headers")
    if "noted" in headers:
        task.noted = True
    return task


def _protocol_1(text: bytes | str, fault: MalformedMessage) -> Task:
    """Read a message with the task in the object that is its body; raise `fault` where there is none."""
    fields = _json(text, "body")
    if not isinstance(fields, dict):
        raise fault
    args = fields.get("args") or []
    if not isinstance(args, list):
        raise MalformedMessage("args is not a list")
    kwargs = _json_object(fields.get("kwargs") or {}, "kwargs")
    task = Task(_text(fields, "id", "body"), _text(fields, "task", "body"), args, kwargs)
    _heed(task, fields, "body")
    return task


def _heed(task: Task, options: dict[str, Json], where: str) -> None:
    """Note the times that a message has, and what it asks for in vain."""
    task.eta_ms, task.expires_ms = _moment(options, "eta", where), _moment(options, "expires", where)
    ignored = [option for name, option in IGNORED.items() if options.get(name)]
    if options.get("ignore_result") is False:
        ignored.append("result")
    if options.get("eta") is not None and task.eta_ms is None:
        ignored.append("eta")
    if options.get("expires") is not None and task.expires_ms is None:
        ignored.append("expires")
    task.ignored = tuple(dict.fromkeys(ignored))


def _body(envelope: dict[str, Json], headers: dict[str, Json]) -> bytes | str:
    """Return the body's JSON text, decoded from one of the supported encodings."""
    if (kind := envelope.get("content-type")) != "application/json":
        raise MalformedMessage(f"content-type is {_named(kind)}, not application/json")
    encoding = envelope.get("content-encoding", "utf-8")
    if not isinstance(encoding, str) or encoding.lower() not in _CHARSETS:
        raise MalformedMessage(f"content-encoding is {_named(encoding)}, not utf-8")
    if compression := headers.get("compression"):
        raise MalformedMessage(f"the body is compressed: {_named(compression)}")
    body = envelope.get("body")
    if not isinstance(body, str):
        raise MalformedMessage("body is not a string")
    return _decoded(body, _json_object(envelope.get("properties", {}), "properties").get("body_encoding"))


def _named(value: Json) -> str:
    """Return what a header says, cut, with the serializer's name in Celery."""
    if not isinstance(value, str):
        return "missing" if value is None else "no text"
    serializer = _SERIALIZERS.get(value)
    return f"{value[:100]!r}" + (f" ({serializer})" if serializer else "")


def _decoded(body: str, encoding: Json) -> bytes | str:
    if encoding == "base64":
        try:
            return a2b_base64(body, strict_mode=True)
        except ValueError as error:
            raise MalformedMessage("body is not base64") from error
    if encoding is None or encoding == "utf-8":
        return body
    raise MalformedMessage("properties.body_encoding is not base64")


def _payload(text: bytes | str) -> tuple[list[Json], dict[str, Json], Json]:
    parts = _json(text, "body")
    if not isinstance(parts, list):
        raise MalformedMessage("body is not a list: not protocol 2")
    if len(parts) != 3:
        raise MalformedMessage("body is not [args, kwargs, embed]")
    args = parts[0]
    if not isinstance(args, list):
        raise MalformedMessage("args is not a list")
    return args, _json_object(parts[1], "kwargs"), parts[2]


def _json(text: bytes | str, what: str) -> Json:
    """Parse JSON; what orjson refuses goes to the standard library, which takes integers of any length."""
    value: Json
    try:
        value = orjson.loads(text)
    except ValueError:
        try:
            value = from_json(text, allow_inf_nan=False)
        except ValueError as error:
            raise MalformedMessage(f"{what} is not JSON: {error}") from error
    return value


def _json_object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise MalformedMessage(f"{what} is not a JSON object")
    return value


def _text(fields: dict[str, Json], name: str, where: str = "headers") -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedMessage(f"{where}.{name} is not a text: not protocol {2 if where == 'headers' else 1}")
    return value


def _moment(fields: dict[str, Json], name: str, where: str) -> int | None:
    """Return an ISO 8601 time as UNIX milliseconds; None for one without a zone, which may mean any."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(cast("str", value).upper())
    except (AttributeError, TypeError, ValueError) as error:
        raise MalformedMessage(f"{where}.{name} is not an ISO 8601 time") from error
    return milliseconds(moment) if moment.tzinfo else None
