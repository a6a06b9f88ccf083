"""8x8: SMS Success Feedback, as developer.8x8.com/connect/reference/api-sms-feedback describes it.

Errors: developer.8x8.com/connect/docs/api-error-codes.
Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

import orjson

from simulator.credentials import bearer, same, segments
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request, json_object
from simulator.settings import Key

NAME = "8x8"
_STATUS = {"1014": 426, "1100": 429, "1200": 401, "1201": 403, "1300": 404, "2000": 500}
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?Z")
_PATH = (("api", "v1", "subaccounts"), "messages", "feedback")
_NO_MESSAGE = "00000000-0000-0000-0000-000000000000"


class EightByEight:
    """The call of one provider: read it, authenticate it, validate it, answer it.

    A key's id is the sub-account, its secret the API key.
    """

    throttled = "1100"
    says_when = b"retry-after"
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for 8x8."""
        return request.target.startswith(b"/api/v1/subaccounts/")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        path, fields = segments(request.target), json_object(request.body)
        return Call(
            request,
            NAME,
            "feedback",
            key=path[3],
            message_id=path[5] if len(path) > 5 and path[5] != _NO_MESSAGE else "",
            verified=fields is None or fields.get("outcome") != "failure",
            parameters=fields,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        del now
        key = self.key(call)
        if key is None or not same(bearer(call.request.headers), key.secret):
            raise RefusedError("1200", "Request was not authenticated properly")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        if self._keys[call.key].denied:
            raise RefusedError("1201", "Request was not authorized for this sub-account")
        path, fields = segments(call.request.target), call.parameters
        json_type = call.request.headers.get(b"content-type", b"").partition(b";")[0]
        if len(path) != 7 or (tuple(path[:3]), path[4], path[6]) != _PATH:
            raise RefusedError("1300", "Not found")
        if call.request.method != b"POST" or json_type != b"application/json" or fields is None:
            raise RefusedError("1000", "Request couldn't be validated")
        if fields.get("outcome") not in ("success", "failure") or fields.keys() - {"outcome", "timestamp"}:
            raise RefusedError("1000", "Request couldn't be validated: outcome")
        if "timestamp" in fields:
            _check_time(fields["timestamp"], now)
        if not call.message_id:
            raise RefusedError("1300", "Message was not found")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken: with nothing."""
        del call, request_id
        return Reply(200, b"", b"")

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an error of 8x8's."""
        del call
        body = {
            "code": int(code) if re.fullmatch("[0-9]{4}", code) else code,
            "message": message,
            "errorId": request_id.decode(),
            "timestamp": "2023-11-14T22:13:10.12Z",
        }
        return Reply(_STATUS.get(code, 400), orjson.dumps(body))

    inner_error = error


def _check_time(given: object, now: float) -> None:
    if not isinstance(given, str) or not _TIME.fullmatch(given):
        raise RefusedError("1000", "Request couldn't be validated: timestamp")
    try:
        at = datetime.fromisoformat(given).timestamp()
    except ValueError:
        raise RefusedError("1000", "Request couldn't be validated: timestamp") from None
    if at > now:
        raise RefusedError("1010", "Parameter is out of range: timestamp")
