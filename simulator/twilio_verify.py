"""Twilio Verify: the status of a verification, as its page and its OpenAPI description have it.

Sources: twilio.com/docs/verify/api/verification, github.com/twilio/twilio-oai (twilio_verify_v2.json).
It signs in and fails as Message Feedback does. Nothing here is shared with the code that reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import orjson

from simulator import twilio
from simulator.credentials import basic, same, segments
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request

NAME = "twilio_verify"
_NOTHING = "VE00000000000000000000000000000000"


class TwilioVerify(twilio.Twilio):
    """The call of one provider: read it, authenticate it, validate it, answer it."""

    provider = NAME

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Twilio Verify."""
        return request.target.startswith(b"/v2/Services/")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        form = dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True))
        path = segments(request.target)
        return Call(
            request,
            NAME,
            "Verifications",
            key=basic(request.headers)[0],
            message_id=path[4] if len(path) == 5 and path[4] != _NOTHING else "",
            verified=form.get("Status") != "canceled",
            parameters=form,
        )

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        del now
        key = self.key(call)
        if key is None or not same(basic(call.request.headers)[1], key.secret):
            raise RefusedError("20003", "Authenticate")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        del now
        key, form, path = self._keys[call.key], call.parameters or {}, segments(call.request.target)
        if key.denied:
            raise RefusedError("20403", "Forbidden")
        if len(path) != 5 or path[3] != "Verifications" or path[2] not in key.apps:
            raise RefusedError("20404", "The requested resource was not found")
        if call.request.method != b"POST":
            raise RefusedError("20004", "Method not allowed")
        if not call.message_id:
            raise RefusedError("20404", f"The requested resource {path[4]} was not found")
        form_type = call.request.headers.get(b"content-type", b"").partition(b";")[0]
        if form_type != b"application/x-www-form-urlencoded" or form.keys() != {"Status"}:
            raise RefusedError("60200", "Invalid parameter")
        if form["Status"] not in {"approved", "canceled"}:
            raise RefusedError("60200", "Invalid parameter `Status`")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken: the verification as it is now."""
        status = (call.parameters or {}).get("Status", "")
        body: Mapping[str, object] = {
            "sid": call.message_id,
            "service_sid": ([*segments(call.request.target), "", "", ""])[2],
            "to": "+15017122661",
            "channel": "sms",
            "status": status,
            "valid": status == "approved",
            "date_created": "2023-11-14T22:13:10Z",
            "date_updated": "2023-11-14T22:13:20Z",
        }
        return Reply(200, orjson.dumps(body), extra=twilio.named(request_id))
