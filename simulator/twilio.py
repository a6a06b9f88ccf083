"""Twilio: Message Feedback, as its page and the dictionary of errors have it.

Sources: twilio.com/docs/messaging/api/message-feedback-resource, twilio.com/docs/api/errors.
Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

import orjson

from simulator.credentials import basic, same, segments
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request
from simulator.settings import Key

NAME = "twilio"
_STATUS = {"20003": 401, "20004": 405, "20403": 403, "20404": 404, "20429": 429, "20500": 500, "20503": 503}
_NO_MESSAGE = "SM00000000000000000000000000000000"


class Twilio:
    """The call of one provider: read it, authenticate it, validate it, answer it."""

    throttled = "20429"
    says_when = b"retry-after"
    replayed = ""
    provider = NAME

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys if key.provider == self.provider}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Twilio."""
        return request.target.startswith(b"/2010-04-01/")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        form = dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True))
        path = segments(request.target)
        return Call(
            request,
            NAME,
            "Feedback",
            key=basic(request.headers)[0],
            message_id=path[4] if len(path) > 4 and path[4] != _NO_MESSAGE else "",
            verified=form.get("Outcome") != "unconfirmed",
            parameters=form,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        del now
        key, path = self.key(call), segments(call.request.target)
        right = key is not None and same(basic(call.request.headers)[1], key.secret)
        if key is None or not right or len(path) < 3 or path[2] != (key.account or key.id):
            raise RefusedError("20003", "Authenticate")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        del now
        key, form = self._keys[call.key], call.parameters or {}
        if key.denied:
            raise RefusedError("20403", "Forbidden")
        path = segments(call.request.target)
        form_type = call.request.headers.get(b"content-type", b"").partition(b";")[0]
        if len(path) != 6 or (path[1], path[3], path[5]) != ("Accounts", "Messages", "Feedback.json"):
            raise RefusedError("20404", "The requested resource was not found")
        if call.request.method != b"POST":
            raise RefusedError("20004", "Method not allowed")
        if not call.message_id:
            raise RefusedError("20404", f"The requested resource {path[4]} was not found")
        if form_type != b"application/x-www-form-urlencoded" or form.keys() != {"Outcome"}:
            raise RefusedError("20422", "Outcome is required")
        if form["Outcome"] not in {"confirmed", "unconfirmed"}:
            raise RefusedError("20422", "Outcome is neither confirmed nor unconfirmed")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        account, form = segments(call.request.target)[2:3], call.parameters or {}
        body: Mapping[str, object] = {
            "account_sid": account[0] if account else "",
            "message_sid": call.message_id,
            "outcome": form.get("Outcome", ""),
            "date_created": "Tue, 14 Nov 2023 22:13:10 +0000",
            "date_updated": "Tue, 14 Nov 2023 22:13:10 +0000",
            "uri": call.request.target.decode("latin-1"),
        }
        return Reply(201, orjson.dumps(body), extra=named(request_id))

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an error of Twilio's."""
        del call
        status = _STATUS.get(code, 400)
        body: dict[str, object] = {"message": message, "status": status}
        if re.fullmatch("[0-9]{5}", code):
            body |= {"code": int(code), "more_info": f"https://www.twilio.com/docs/errors/{code}"}
        return Reply(status, orjson.dumps(body), extra=named(request_id))

    inner_error = error


def named(request_id: bytes) -> bytes:
    """Return the header line with a request's id."""
    return b"Twilio-Request-Id: RQ%s\r\n" % request_id.replace(b"-", b"")
