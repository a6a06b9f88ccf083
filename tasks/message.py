"""Parse a message of the queue: any plain Celery task message (protocol 2, JSON) as kombu writes it to Redis.

Source: https://docs.celeryq.dev/en/stable/internals/protocol.html and kombu's virtual transport.
"""

from __future__ import annotations

from binascii import a2b_base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, cast

import orjson
from pydantic_core import from_json

from otpreport.errors import OtpreportError
from otpreport.event import milliseconds
from tasks.shared import MAX_BYTES

_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})

Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | bool | None"


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
    eta_ms: int | None
    expires_ms: int | None


def decode(raw: bytes) -> Task:
    """Read a message; MalformedMessage for anything but a protocol-2 JSON task message."""
    if len(raw) > MAX_BYTES:
        raise MalformedMessage(f"the message has {len(raw)} bytes, more than {MAX_BYTES}")
    envelope = _json_object(_json(raw, "the message"), "the message")
    headers = _json_object(envelope.get("headers"), "headers")
    args, kwargs = _payload(_body(envelope, headers))
    return Task(
        task_id=_text(headers, "id"),
        task=_text(headers, "task"),
        args=args,
        kwargs=kwargs,
        eta_ms=_moment(headers, "eta"),
        expires_ms=_moment(headers, "expires"),
    )


def _body(envelope: dict[str, Json], headers: dict[str, Json]) -> bytes | str:
    """Return the body's JSON text, decoded from one of the supported encodings."""
    if envelope.get("content-type") != "application/json":
        raise MalformedMessage("content-type is not application/json")
    encoding = envelope.get("content-encoding", "utf-8")
    if not isinstance(encoding, str) or encoding.lower() not in _CHARSETS:
        raise MalformedMessage("content-encoding is not utf-8")
    if headers.get("compression"):
        raise MalformedMessage("the body is compressed")
    body = envelope.get("body")
    if not isinstance(body, str):
        raise MalformedMessage("body is not a string")
    return _decoded(body, _json_object(envelope.get("properties", {}), "properties").get("body_encoding"))


def _decoded(body: str, encoding: Json) -> bytes | str:
    if encoding == "base64":
        try:
            return a2b_base64(body, strict_mode=True)
        except ValueError as error:
            raise MalformedMessage("body is not base64") from error
    if encoding is None or encoding == "utf-8":
        return body
    raise MalformedMessage("properties.body_encoding is not base64")


def _payload(text: bytes | str) -> tuple[list[Json], dict[str, Json]]:
    parts = _json(text, "body")
    if not isinstance(parts, list):
        raise MalformedMessage("body is not a list: not protocol 2")
    if len(parts) != 3:
        raise MalformedMessage("body is not [args, kwargs, embed]")
    args = parts[0]
    if not isinstance(args, list):
        raise MalformedMessage("args is not a list")
    return args, _json_object(parts[1], "kwargs")


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


def _text(headers: dict[str, Json], name: str) -> str:
    value = headers.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedMessage(f"headers.{name} is not a text: not protocol 2")
    return value


def _moment(headers: dict[str, Json], name: str) -> int | None:
    """Return an ISO 8601 header as UNIX milliseconds; without a zone it is UTC, Celery's default."""
    value = headers.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(cast("str", value))
    except (TypeError, ValueError) as error:
        raise MalformedMessage(f"headers.{name} is not an ISO 8601 time") from error
    return milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
