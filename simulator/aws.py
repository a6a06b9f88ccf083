"""AWS End User Messaging SMS: `PutMessageFeedback`, as the service's model and the pages have it.

Sources: docs.aws.amazon.com/pinpoint/latest/apireference_smsvoicev2/API_PutMessageFeedback.html,
github.com/boto/botocore (pinpoint-sms-voice-v2, 2022-03-31).
Nothing here is shared with the code that reports: the simulator judges it. It takes any message id, also one that is
not 1 to 64 of the documented characters, so that odd ones can be tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import orjson

from simulator.credentials import same
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request
from simulator.settings import Key
from simulator.sigv4 import Scheme, credential, is_signed, key_id, unix

NAME = "aws"
WINDOW = 300  # seconds the date may be off
SCHEME = Scheme(
    algorithm=b"AWS4-HMAC-SHA256",
    service=b"sms-voice",
    ending=b"aws4_request",
    prefix=b"AWS4",
    date_header=b"x-amz-date",
    needed=frozenset({b"host", b"x-amz-date"}),
)

_JSON = b"application/x-amz-json-1.0"
_TARGET = b"PinpointSMSVoiceV2.PutMessageFeedback"
_STATUS = {"InternalServerException": 500, "ServiceUnavailableException": 503}
_NAMESPACE = "com.amazonaws.pinpointsmsvoicev2#"


class Aws:
    """The call of one provider: read it, authenticate it, validate it, answer it."""

    throttled = "ThrottlingException"
    says_when = b""
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for AWS."""
        return b"x-amz-target" in request.headers

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        fields = _fields(request.body)
        message_id = fields.get("MessageId") if fields else None
        return Call(
            request,
            NAME,
            request.headers[b"x-amz-target"].decode("latin-1").rpartition(".")[2],
            key=key_id(request.headers),
            message_id=message_id if isinstance(message_id, str) else "",
            verified=fields is None or fields.get("MessageFeedbackStatus") != "FAILED",
            parameters=fields,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        headers = call.request.headers
        if not headers.get(b"authorization"):
            raise RefusedError("MissingAuthenticationTokenException", "Missing Authentication Token")
        given, date, key = credential(headers, SCHEME), headers.get(b"x-amz-date", b""), self.key(call)
        signed_at = unix(date)
        if given is None or signed_at is None:
            raise RefusedError("IncompleteSignature", "Authorization header requires existing fields.")
        if key is None or not same(headers.get(b"x-amz-security-token", b"").decode("latin-1"), key.token):
            raise RefusedError(
                "UnrecognizedClientException", "The security token included in the request is invalid."
            )
        off = now - signed_at
        if abs(off) > WINDOW:
            fault, than = ("expired", "earlier") if off > 0 else ("not yet current", "later")
            raise RefusedError(
                "InvalidSignatureException",
                f"Signature {fault}: {date.decode()} is now {than} than the time of the server (5 min.)",
            )
        token_is_signed = b"x-amz-security-token" in given.signed.split(b";")
        if token_is_signed is not bool(key.token) or not is_signed(call.request, given, key.secret, SCHEME):
            raise RefusedError(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
            )

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        del now
        request, fields = call.request, call.parameters
        if self._keys[call.key].denied:
            raise RefusedError(
                "AccessDeniedException", "User is not authorized to perform: sms-voice:PutMessageFeedback"
            )
        if request.headers[b"x-amz-target"] != _TARGET or (request.method, request.target) != (b"POST", b"/"):
            raise RefusedError("UnknownOperationException", "")
        if request.headers.get(b"content-type") != _JSON or fields is None:
            raise RefusedError("SerializationException", "The request is not JSON 1.0.")
        for name in ("MessageId", "MessageFeedbackStatus"):
            if name in fields and not isinstance(fields[name], str):
                raise RefusedError("SerializationException", f"{name} is not a string.")
            if not fields.get(name):
                raise RefusedError("ValidationException", f"{name} must not be null or empty.")
        if fields["MessageFeedbackStatus"] not in {"RECEIVED", "FAILED"} or len(fields) > 2:
            raise RefusedError("ValidationException", "Use MessageFeedbackStatus RECEIVED or FAILED.")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        return Reply(200, orjson.dumps(call.parameters or {}), _JSON, _named(request_id))

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an error; those of the service itself have their text in `Message`."""
        del call
        own = code in {"AccessDeniedException", "ValidationException", "ThrottlingException"}
        kind = f"{_NAMESPACE}{code}" if own else code
        body = {"__type": kind, "Message" if own else "message": message}
        return Reply(_STATUS.get(code, 400), orjson.dumps(body), _JSON, _named(request_id))

    inner_error = error


def _named(request_id: bytes) -> bytes:
    return b"x-amzn-RequestId: %s\r\n" % request_id


def _fields(body: bytes) -> Mapping[str, object] | None:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, object]", fields) if isinstance(fields, dict) else None
