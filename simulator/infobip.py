"""Infobip: confirm a conversion, as the operation `log-end-tag` of its specification describes it.

Sources: infobip.com/docs/sms/api#track-conversion, github.com/api-evangelist/infobip (infobip-sms-openapi.json).
Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from simulator.credentials import bearer, segments
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request
from simulator.settings import Key

NAME = "infobip"
_START = b"/ct/1/log/end/"
_STATUS = {
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "TOO_MANY_REQUESTS": 429,
    "GENERAL_ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
}
_NO_MESSAGE = "otpreport-probe"


class Infobip:
    """The call of one provider: read it, authenticate it, validate it, answer it.

    A key's secret is the API key; its id is only the name of its book.
    """

    throttled = "TOO_MANY_REQUESTS"
    says_when = b""
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.secret: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Infobip."""
        return request.target.startswith(_START)

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        path = segments(request.target)
        return Call(
            request,
            NAME,
            "log-end-tag",
            key=bearer(request.headers, b"app"),
            message_id=path[4] if len(path) == 5 and path[4] != _NO_MESSAGE else "",
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        del now
        if self.key(call) is None:
            raise RefusedError("UNAUTHORIZED", "Invalid login details")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        del now
        if self._keys[call.key].denied:
            raise RefusedError("FORBIDDEN", "The key's scopes do not allow this")
        if call.request.method != b"POST" or call.request.body or b"?" in call.request.target:
            raise RefusedError("BAD_REQUEST", "Bad Request")
        if not call.message_id:
            raise RefusedError("NOT_FOUND", "Requested resource not found")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken: as XML, unless JSON is asked for."""
        key = request_id.replace(b"-", b"").upper()
        if call.request.headers.get(b"accept") != b"application/json":
            return Reply(200, b"<response><processKey>%s</processKey></response>" % key, b"application/xml")
        return Reply(200, orjson.dumps({"processKey": key.decode()}))

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an error: of the newer form where its code begins with E and a digit."""
        del call, request_id
        if code[:1] == "E" and code[1:].isdigit():
            body = {"errorCode": code, "description": message, "action": "", "violations": list[str]()}
            return Reply(int(code[1:]), orjson.dumps(body))
        exception = {"messageId": code, "text": message}
        return Reply(_STATUS.get(code, 400), orjson.dumps({"requestError": {"serviceException": exception}}))

    inner_error = error
