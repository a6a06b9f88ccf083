"""Telesign: `PUT /v1/verify/completion/{reference_id}`, as its OpenAPI description and its SDK have it.

Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime

import orjson

from simulator.credentials import basic, same, segments
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request
from simulator.settings import Key

NAME = "telesign"
WINDOW = 300  # seconds the date may be off; the "tolerable range" is not documented
PLACE = ["v1", "verify", "completion"]
_UNKNOWN = "0" * 32
_TSA = re.compile(rb"TSA ([^:\s]+):([A-Za-z0-9+/]{43}=)")
_STATUS = {"-10001": 404, "-90001": 503, "429": 429}
_TEXTS = {
    "-10001": "Customer ID / Reference ID not found",
    "-30000": "Invalid customer ID",
    "-30001": "Account suspended",
    "-30004": "Missing required Authorization header",
    "-30005": "Required Authorization header is not in the correct format",
    "-30006": "Invalid signature",
    "-30007": "Missing required Date or X-TS-Date header",
    "-30008": "Invalid X-TS-Auth-Method header",
    "-30009": "Date or X-TS-Date header is not RFC822 compliant",
    "-30010": "Date or X-TS-Date header is not within tolerable range",
    "-30011": "X-TS-Nonce header value is either too long or too short",
}


class Telesign:
    """The call of one provider: read it, authenticate it, validate it, answer it."""

    throttled = "429"
    says_when = b""
    replayed = "-30012"

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Telesign."""
        return request.target.startswith(b"/v1/verify/completion/")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        signed = _TSA.fullmatch(request.headers.get(b"authorization", b""))
        path = segments(request.target)
        return Call(
            request,
            NAME,
            "completion",
            key=signed[1].decode("latin-1") if signed else basic(request.headers)[0],
            message_id=path[3] if len(path) == 4 and path[3] != _UNKNOWN else "",
            nonce=request.headers.get(b"x-ts-nonce", b""),
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        headers, key = call.request.headers, self.key(call)
        if b"authorization" not in headers:
            raise _refused("-30004")
        if not call.key:
            raise _refused("-30005")
        if key is None:
            raise _refused("-30000")
        if signed := _TSA.fullmatch(headers[b"authorization"]):
            _check_signed_headers(headers, now)
            right = same(signed[2].decode(), signature(call.request, key.secret))
        else:
            right = same(basic(headers)[1], key.secret)
        if not right:
            raise _refused("-30006")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        del now
        if self._keys[call.key].denied:
            raise _refused("-30001")
        request = call.request
        if request.method != b"PUT" or request.body or segments(request.target)[:3] != PLACE:
            raise RefusedError("-10001", "Invalid parameter passed")
        if not call.message_id:
            raise _refused("-10001")

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        return self.inner_error(call, "1900", "Verify completion successfully recorded", request_id)

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an error; that of a service that is down stands alone."""
        del call, request_id
        error = {"code": _number(code), "description": message}
        status = 400 if message.startswith("Invalid parameter") else _STATUS.get(code, 401)
        body: dict[str, object] = {"status": {"code": 500, "description": "Transaction not attempted"}}
        return Reply(
            status, orjson.dumps(body | ({"error": error} if status == 503 else {"errors": [error]}))
        )

    def inner_error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with a status of the report."""
        del request_id
        written = {"code": _number(code), "description": message, "updated_on": "2023-11-14T22:13:20.123456Z"}
        body: dict[str, object] = {
            "reference_id": call.message_id,
            "sub_resource": "sms",
            "errors": [],
            "status": written,
        }
        return Reply(200, orjson.dumps(body))


def signature(request: Request, api_key: str) -> str:
    """Return the signature of a request: over its method, four of its headers, its body and its path."""
    headers = request.headers
    parts = [request.method, headers.get(b"content-type", b""), headers.get(b"date", b"")]
    parts += [name + b":" + headers.get(name, b"") for name in (b"x-ts-auth-method", b"x-ts-nonce")]
    parts += [request.body, request.target] if request.body else [request.target]
    digest = hmac.new(base64.b64decode(api_key), b"\n".join(parts), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _check_signed_headers(headers: Mapping[bytes, bytes], now: float) -> None:
    if headers.get(b"x-ts-auth-method") != b"HMAC-SHA256":
        raise _refused("-30008")
    if b"date" not in headers:
        raise _refused("-30007")
    try:
        date = parsedate_to_datetime(headers[b"date"].decode("latin-1")).timestamp()
    except ValueError:
        raise _refused("-30009") from None
    if abs(date - now) > WINDOW:
        raise _refused("-30010")
    if not 8 <= len(headers.get(b"x-ts-nonce", b"")) <= 128:
        raise _refused("-30011")


def _number(code: str) -> int | str:
    return int(code) if re.fullmatch("-?[0-9]+", code) else code


def _refused(code: str) -> RefusedError:
    return RefusedError(code, _TEXTS[code])
