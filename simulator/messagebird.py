"""MessageBird, the classic REST API: conversions, as Signal's registration service calls it.

What it answers is assumed: 204 for a report that is taken, errors as the other calls of that API give them.
Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from simulator.credentials import bearer
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request, json_object
from simulator.settings import Key

NAME = "messagebird"
_STATUS = {"2": 401, "20": 404, "25": 402, "98": 404, "99": 500, "429": 429}


class MessageBird:
    """The call of one provider: read it, authenticate it, validate it, answer it.

    A key's secret is the access key; its id is only the name of its book.
    """

    throttled = "429"
    says_when = b""
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.secret: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for MessageBird."""
        return request.target == b"/conversions"

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        fields = json_object(request.body) or {}
        message_id = fields.get("id")
        return Call(
            request,
            NAME,
            "conversions",
            key=bearer(request.headers, b"accesskey"),
            message_id=message_id if isinstance(message_id, str) else "",
            verified=fields.get("success") is not False,
            parameters=fields,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        del now
        if self.key(call) is None:
            raise RefusedError("2", "Request not allowed (incorrect access_key)")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        del now
        request, fields = call.request, call.parameters or {}
        if self._keys[call.key].denied:
            raise RefusedError("25", "Not enough balance")
        if request.method != b"POST":
            raise RefusedError("98", "The path is not correct")
        if request.headers.get(b"content-type", b"").partition(b";")[0] != b"application/json":
            raise RefusedError("21", "Bad request")
        for name in ("service", "id", "success"):
            if name not in fields:
                raise RefusedError("9", f"{name} is required")
        if fields["service"] not in {"sms", "voice"} or not isinstance(fields["success"], bool):
            raise RefusedError("10", "service or success is invalid")
        if not call.message_id:
            raise RefusedError("10", "id is invalid")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        del call, request_id
        return Reply(204, b"", b"")

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an error."""
        del call, request_id
        error = {"code": int(code) if code.isdecimal() else code, "description": message, "parameter": None}
        return Reply(_STATUS.get(code, 422), orjson.dumps({"errors": [error]}))

    inner_error = error
