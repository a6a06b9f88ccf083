"""Plivo: Conversion Feedback, as plivo.com/docs/messaging/concepts/conversion-feedback describes it.

Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

import orjson

from simulator.credentials import basic, same, segments
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request, json_object
from simulator.settings import Key

NAME = "plivo"
_TEXT = b"text/plain; charset=utf-8"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_OUTCOMES = ("CONVERTED", "NOT_CONVERTED", "CONVERTED_WITH_OTHERS")
_NO_MESSAGE = "00000000-0000-0000-0000-000000000000"


class Plivo:
    """The call of one provider: read it, authenticate it, validate it, answer it.

    Its codes are statuses; `message` and `account` of the path are in lower case, as nowhere else at Plivo.
    """

    throttled = "429"
    says_when = b""
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Plivo."""
        return request.target.startswith(b"/v1/account/")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        path, fields = segments(request.target), json_object(request.body)
        return Call(
            request,
            NAME,
            "conversion",
            key=basic(request.headers)[0],
            message_id=path[4] if len(path) > 4 and path[4] != _NO_MESSAGE else "",
            verified=fields is None or fields.get("status") != "NOT_CONVERTED",
            parameters=fields,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        del now
        key, account = self.key(call), segments(call.request.target)[2]
        if key is None or key.id != account or not same(basic(call.request.headers)[1], key.secret):
            raise RefusedError("401", "Could not verify your access level for that URL.")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        request, fields, path = call.request, call.parameters, segments(call.request.target)
        if self._keys[call.key].denied:
            raise RefusedError("403", "forbidden")
        if path[3:4] + path[5:] not in (["message", "conversion"], ["message", "conversion", ""]):
            raise RefusedError("404", "not found")
        json_type = request.headers.get(b"content-type", b"").partition(b";")[0]
        if request.method != b"POST" or json_type != b"application/json" or fields is None:
            raise RefusedError("400", "only JSON is accepted")
        if set(fields) != {"status", "timestamp"} or fields["status"] not in _OUTCOMES:
            raise RefusedError("400", "status and timestamp are mandatory")
        _check_time(fields["timestamp"], now)
        if not call.message_id:
            raise RefusedError("404", "message not found")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        body = {
            "api_id": request_id.decode(),
            "conversion_uuid": f"conv-{call.message_id}",
            "message": "successfully recorded.",
            "message_uuid": call.message_id,
        }
        return Reply(200, orjson.dumps(body))

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with a status and a text, which is alone where the keys are wrong."""
        del call
        status = int(code) if re.fullmatch("[45][0-9]{2}", code) else 500
        if status == 401:
            return Reply(status, message.encode(), _TEXT)
        return Reply(status, orjson.dumps({"api_id": request_id.decode(), "error": message}))

    inner_error = error


def _check_time(given: object, now: float) -> None:
    try:
        at = datetime.fromisoformat(given if isinstance(given, str) and _TIME.fullmatch(given) else "")
    except ValueError:
        raise RefusedError("400", "timestamp is invalid") from None
    if at.timestamp() > now:
        raise RefusedError("400", "timestamp is in the future")
