"""Bird: conversions of the Channels API, as docs.bird.com/api/channels-api/api-reference/conversions-sharing has it.

What the page leaves open is assumed: the time is `timestamp`, a report that is taken is repeated with a 202.
Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import orjson

from simulator.credentials import bearer, same, segments
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request, json_object
from simulator.settings import Key

NAME = "bird"
_NOTHING = "00000000-0000-0000-0000-000000000000"
_STATUSES = {
    "converted",
    "not_converted",
    "canceled",
    "resent",
    "received_after_expiration",
    "incorrect_code",
}


class Bird:
    """The call of one provider: read it, authenticate it, validate it, answer it.

    A key's id is the workspace, its secret the access key. Codes are statuses.
    """

    throttled = "429"
    says_when = b""
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Bird."""
        return request.target.startswith(b"/workspaces/")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        path, fields = segments(request.target), json_object(request.body)
        return Call(
            request,
            NAME,
            "conversions",
            key=path[1],
            message_id=path[5] if len(path) == 7 and path[5] != _NOTHING else "",
            verified=(fields or {}).get("status") != "not_converted",
            parameters=fields,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        del now
        key = self.key(call)
        if key is None or not same(bearer(call.request.headers, b"accesskey"), key.secret):
            raise RefusedError("401", "unauthorized")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        request, path, fields = call.request, segments(call.request.target), call.parameters
        key = self._keys[call.key]
        if key.denied:
            raise RefusedError("403", "forbidden")
        if (
            request.method != b"POST"
            or path[2::2] != ["channels", "messages", "conversions"]
            or path[3] not in key.apps
        ):
            raise RefusedError("404", "not found")
        if not call.message_id:
            raise RefusedError("404", "the message was not found")
        if (
            request.headers.get(b"content-type", b"").partition(b";")[0] != b"application/json"
            or fields is None
        ):
            raise RefusedError("400", "no JSON")
        if fields.get("type") not in {"otp", "url", "promo_code"} or fields.get("status") not in _STATUSES:
            raise RefusedError("422", "type or status")
        if fields.keys() - {"type", "status", "timestamp"}:
            raise RefusedError("422", "an unknown property")
        _check_time(fields.get("timestamp"), now)

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        del request_id
        return Reply(202, orjson.dumps(call.parameters or {}))

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with a status."""
        del call, request_id
        return Reply(int(code) if code.isdigit() else 500, orjson.dumps({"message": message}))

    inner_error = error


def _check_time(given: object, now: float) -> None:
    if given is None:
        return
    try:
        at = datetime.fromisoformat(str(given)).timestamp()
    except ValueError:
        raise RefusedError("422", "timestamp") from None
    if at > now:
        raise RefusedError("422", "timestamp")
