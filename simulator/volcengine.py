"""Volcengine SMS and BytePlus SMS: `Conversion` 2020-01-01, as Volcengine's pages describe it.

Sources: volcengine.com/docs/6361/171581, volcengine.com/docs/6440/71573 (common errors),
volcengine.com/docs/6369/67269 (signature). The region that a call is signed for tells the two apart.
Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast
from urllib.parse import parse_qsl

import orjson

from simulator.credentials import same
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request
from simulator.settings import Key
from simulator.sigv4 import Scheme, credential, is_signed, key_id, unix

REGIONS = {b"cn-north-1": "volcengine", b"ap-singapore-1": "byteplus"}
WINDOW = 900  # seconds the date may be off: not documented
SCHEME = Scheme(
    algorithm=b"HMAC-SHA256",
    service=b"volcSMS",
    ending=b"request",
    prefix=b"",
    date_header=b"x-date",
    needed=frozenset({b"content-type", b"host", b"x-content-sha256", b"x-date"}),
)
MOST = 100  # ids a call may name

_NUMBERS = {  # of common errors: CodeN and HTTP status
    "MissingParameter": (100002, 400),
    "MissingAuthenticationToken": (100003, 400),
    "InvalidTimestamp": (100006, 400),
    "InvalidActionOrVersion": (100008, 400),
    "InvalidAccessKey": (100009, 401),
    "SignatureDoesNotMatch": (100010, 401),
    "AccessDenied": (100013, 403),
    "InternalError": (100014, 500),
    "AccountFlowLimitExceeded": (100027, 429),
}


class Volcengine:
    """The call of one provider: read it, authenticate it, validate it, answer it."""

    throttled = "AccountFlowLimitExceeded"
    says_when = b""
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {(key.provider, key.id): key for key in keys if key.provider in REGIONS.values()}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Volcengine or BytePlus."""
        return request.headers.get(b"authorization", b"").startswith(b"HMAC-SHA256 ")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible; a batch is one call, its ids joined by commas."""
        fields, given = _fields(request.body), credential(request.headers, SCHEME)
        query = dict(parse_qsl(request.target.partition(b"?")[2].decode("latin-1")))
        return Call(
            request,
            REGIONS.get(given.region if given else b"", "volcengine"),
            query.get("Action", ""),
            key=key_id(request.headers),
            message_id=",".join(_ids(fields)),
            parameters=fields,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names, of the cloud that it is signed for."""
        return self._keys.get((call.provider, call.key))

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        headers, key = call.request.headers, self.key(call)
        given, signed_at = credential(headers, SCHEME), unix(headers.get(b"x-date", b""))
        if given is None or given.region not in REGIONS:
            raise RefusedError("MissingAuthenticationToken", "Authorization is not as documented.")
        if signed_at is None or abs(now - signed_at) > WINDOW:
            raise RefusedError("InvalidTimestamp", "The X-Date in the header is malformed or expired.")
        if key is None or not same(headers.get(b"x-security-token", b"").decode("latin-1"), key.token):
            raise RefusedError("InvalidAccessKey", "The access key is not found, or not with this token.")
        token_is_signed = b"x-security-token" in given.signed.split(b";")
        if token_is_signed is not bool(key.token) or not is_signed(call.request, given, key.secret, SCHEME):
            raise RefusedError("SignatureDoesNotMatch", "The request signature we calculated does not match.")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        del now
        request = call.request
        key = self.key(call)
        if key is None or key.denied:
            raise RefusedError("AccessDenied", "The user may not call Conversion.")
        if request.target not in {
            b"/?Action=Conversion&Version=2020-01-01",
            b"/?Version=2020-01-01&Action=Conversion",
        }:
            raise RefusedError("InvalidActionOrVersion", "There is no such action.")
        if request.method != b"POST" or request.headers.get(b"content-type") != b"application/json":
            raise RefusedError("RE:0009", "Send JSON with POST.")
        given = (call.parameters or {}).get("MessageIDs")
        found = _ids(call.parameters)
        if not isinstance(given, list) or not 1 <= len(found) <= MOST or found != given or not all(found):
            raise RefusedError("RE:0009", "MessageIDs is a list of 1 to 100 ids.")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        return Reply(200, orjson.dumps({"ResponseMetadata": _metadata(call, request_id), "Result": ""}))

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an error: HTTP 200 for those of the product."""
        number, status = _NUMBERS.get(code, (100000, 200 if code.startswith("RE:") else 400))
        error = {"CodeN": number, "Code": code, "Message": message}
        return Reply(
            status, orjson.dumps({"ResponseMetadata": {**_metadata(call, request_id), "Error": error}})
        )

    inner_error = error


def _metadata(call: Call, request_id: bytes) -> Mapping[str, object]:
    region = next(region for region, name in REGIONS.items() if name == call.provider)
    return {
        "RequestId": request_id.decode(),
        "Action": call.action,
        "Version": "2020-01-01",
        "Service": "volcSMS",
        "Region": region.decode(),
    }


def _fields(body: bytes) -> Mapping[str, object] | None:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, object]", fields) if isinstance(fields, dict) else None


def _ids(fields: Mapping[str, object] | None) -> list[str]:
    given = fields.get("MessageIDs") if fields else None
    return (
        [one for one in cast("list[object]", given) if isinstance(one, str)]
        if isinstance(given, list)
        else []
    )
