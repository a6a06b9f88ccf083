"""Sinch: delivery feedback of the SMS API, as developers.sinch.com describes it.

Sources: developers.sinch.com/docs/sms/tutorials/node/delivery-feedback, github.com/sinch/docs (errors of the SMS API).
Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import orjson

from simulator.credentials import bearer, same, segments
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request, json_object
from simulator.settings import Key

NAME = "sinch"
_NO_BATCH = "otpreport-probe"


class Sinch:
    """The call of one provider: read it, authenticate it, validate it, answer it.

    A key's id is the service plan, its secret the API token. Only a 400 and a 403 have a body.
    """

    throttled = "429"
    says_when = b""
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Sinch."""
        return request.target.startswith(b"/xms/v1/")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        path = segments(request.target)
        return Call(
            request,
            NAME,
            "delivery_feedback",
            key=path[2],
            message_id=path[4] if len(path) > 4 and path[4] != _NO_BATCH else "",
            parameters=json_object(request.body),
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        del now
        key = self.key(call)
        if key is None or not same(bearer(call.request.headers), key.secret):
            raise RefusedError("401", "")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        del now
        request, fields, path = call.request, call.parameters, segments(call.request.target)
        if len(path) != 6 or (path[3], path[5]) != ("batches", "delivery_feedback"):
            raise RefusedError("404", "")
        if request.method != b"POST" or self._keys[call.key].denied:
            raise RefusedError("405", "")
        if request.headers.get(b"content-type", b"").partition(b";")[0] != b"application/json":
            raise RefusedError("415", "")
        if fields is None:
            raise RefusedError("syntax_invalid_json", "The JSON is invalid")
        recipients = fields.get("recipients")
        if set(fields) != {"recipients"} or not isinstance(recipients, list):
            raise RefusedError("syntax_constraint_violation", "recipients is required")
        if not all(isinstance(recipient, str) for recipient in cast("list[object]", recipients)):
            raise RefusedError("syntax_invalid_parameter_format", "recipients")
        if not call.message_id:
            raise RefusedError("404", "")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken: with nothing."""
        del call, request_id
        return Reply(202, b"", b"")

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with a status, or with an error's code."""
        del call, request_id
        if code.isdigit():
            return Reply(int(code), b"", b"")
        status = 403 if code.startswith(("unknown_", "missing_")) else 400
        return Reply(status, orjson.dumps({"code": code, "text": message}))

    inner_error = error
