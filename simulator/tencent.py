"""Tencent Cloud SMS, `ReportConversion`, version 2021-01-11, as the documents describe it.

Sources: tencentcloud.com/document/api/382/49706 (the call), 382/38766 (signature), 382/38780 (common errors).
Nothing here is shared with the code that signs: the simulator judges it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast

import orjson

from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request
from simulator.settings import Key

NAME = "tencent"
ACTION = "ReportConversion"
VERSION = b"2021-01-11"
WINDOW = 300  # seconds the timestamp may be off
THROTTLED = "RequestLimitExceeded"
MILLISECONDS_FROM = 100_000_000_000  # a number of seconds from here on would lie after the year 5138

_FIELDS: Mapping[str, type] = {"SmsSdkAppId": str, "SerialNo": str, "ConversionTime": int}
_AUTHORIZATION = re.compile(
    rb"TC3-HMAC-SHA256 +Credential=([^/,\s]+)/(\d{4}-\d\d-\d\d)/([a-z]+)/tc3_request, *"
    rb"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})\s*"
)
_KEY_ID = re.compile(rb"Credential=([^/,\s]+)")
_TAKEN = b'{"Response":{"ReportConversionStatus":{"Code":"ok","Message":"report success"},"RequestId":"%s"}}'


class Tencent:
    """The call of one provider: read it, authenticate it, validate it, answer it."""

    throttled = THROTTLED
    says_when = b""
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Tencent."""
        headers = request.headers
        return b"x-tc-action" in headers or headers.get(b"authorization", b"").startswith(b"TC3-")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        headers = request.headers
        found = _KEY_ID.search(headers.get(b"authorization", b""))
        parameters = _parameters(request.body)
        message_id = parameters.get("SerialNo") if parameters else None
        return Call(
            request,
            NAME,
            headers.get(b"x-tc-action", b"").decode("latin-1"),
            key=found[1].decode("latin-1") if found else "",
            message_id=message_id if isinstance(message_id, str) else "",
            parameters=parameters,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        headers = call.request.headers
        timestamp = _timestamp(headers)
        match = _AUTHORIZATION.fullmatch(headers.get(b"authorization", b""))
        if match is None:
            raise RefusedError(
                "AuthFailure.InvalidAuthorization", "The Authorization header is not as documented."
            )
        key = self._keys.get(call.key)
        if key is None:
            raise RefusedError("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
        if abs(now - timestamp) > WINDOW:
            raise RefusedError("AuthFailure.SignatureExpire", "The timestamp is more than 5 minutes off.")
        if headers.get(b"x-tc-token", b"").decode("latin-1") != key.token:
            raise RefusedError("AuthFailure.TokenFailure", "The token is wrong.")
        if not _is_signed(call.request, match, key.secret, timestamp):
            raise RefusedError(
                "AuthFailure.SignatureFailure", "The provided credentials could not be validated."
            )

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        key = self._keys[call.key]
        if key.denied:
            raise RefusedError("AuthFailure.UnauthorizedOperation", "The request is not authorized by CAM.")
        _check_envelope(call, key)
        fields = _check_fields(call.parameters)
        if fields["SmsSdkAppId"] not in key.apps:
            raise RefusedError(
                "UnauthorizedOperation.SmsSdkAppIdVerifyFail", "SmsSdkAppId does not belong to this account."
            )
        _check_time(fields.get("ConversionTime"), now)

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        del call
        return Reply(200, _TAKEN % request_id)

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an API error: HTTP 200 all the same."""
        del call
        response = {"Error": {"Code": code, "Message": message}, "RequestId": request_id.decode()}
        return Reply(200, orjson.dumps({"Response": response}))

    def inner_error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with a status inside that is not ok."""
        del call
        response = {
            "ReportConversionStatus": {"Code": code, "Message": message},
            "RequestId": request_id.decode(),
        }
        return Reply(200, orjson.dumps({"Response": response}))


def signature(
    secret: str,
    *,
    method: bytes,
    query: bytes,
    headers: Mapping[bytes, bytes],
    signed: bytes,
    body: bytes,
    timestamp: int,
) -> str:
    """Return the TC3-HMAC-SHA256 signature over the headers named in `signed` (joined by semicolons)."""
    lines = b"".join(
        b"%s:%s\n" % (name, headers.get(name, b"").strip().lower()) for name in signed.split(b";")
    )
    digest = hashlib.sha256(body).hexdigest().encode()
    canonical = b"%s\n/\n%s\n%s\n%s\n%s" % (method, query, lines, signed, digest)
    date = _utc_date(timestamp // 86400)
    scope = b"%s/sms/tc3_request" % date
    text = b"TC3-HMAC-SHA256\n%d\n%s\n%s" % (timestamp, scope, hashlib.sha256(canonical).hexdigest().encode())
    return hmac.digest(_signing_key(secret, date), text, "sha256").hex()


@lru_cache(maxsize=64)
def _signing_key(secret: str, date: bytes) -> bytes:
    key = b"TC3" + secret.encode()
    for part in (date, b"sms", b"tc3_request"):
        key = hmac.digest(key, part, "sha256")
    return key


@lru_cache(maxsize=64)
def _utc_date(day: int) -> bytes:
    return datetime.fromtimestamp(day * 86400, UTC).strftime("%Y-%m-%d").encode()


def _is_signed(request: Request, match: re.Match[bytes], secret: str, timestamp: int) -> bool:
    _, date, service, signed, given = match.groups()
    if date != _utc_date(timestamp // 86400) or service != b"sms":
        return False
    if not {b"content-type", b"host"} <= set(signed.split(b";")):
        return False
    expected = signature(
        secret,
        method=request.method,
        query=request.target.partition(b"?")[2],
        headers=request.headers,
        signed=signed,
        body=request.body,
        timestamp=timestamp,
    )
    return hmac.compare_digest(expected.encode(), given)


def _timestamp(headers: Mapping[bytes, bytes]) -> int:
    text = headers.get(b"x-tc-timestamp", b"")
    if not text:
        raise RefusedError("MissingParameter", "The request misses the header X-TC-Timestamp.")
    if not text.isdigit() or len(text) > 12:
        raise RefusedError("InvalidParameter", "X-TC-Timestamp is not a UNIX time in seconds.")
    return int(text)


def _check_envelope(call: Call, key: Key) -> None:
    request = call.request
    headers = request.headers
    if request.method != b"POST" or request.target != b"/":
        raise RefusedError("UnsupportedProtocol", "Send a POST to the path /.")
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        raise RefusedError(
            "UnsupportedProtocol", "TC3-HMAC-SHA256 with POST needs Content-Type application/json."
        )
    if call.action != ACTION:
        raise RefusedError("InvalidAction", f"The action {call.action!r} does not exist.")
    if headers.get(b"x-tc-version") != VERSION:
        raise RefusedError("NoSuchVersion", "This API version does not exist.")
    _check_region(headers.get(b"x-tc-region", b"").decode("latin-1"), key)


def _check_region(region: str, key: Key) -> None:
    if not region:
        raise RefusedError("MissingParameter", "The request misses the header X-TC-Region.")
    if region not in key.regions:
        raise RefusedError("UnsupportedRegion", f"The API does not support the region {region!r}.")


def _parameters(body: bytes) -> Mapping[str, object] | None:
    try:
        parameters = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, object]", parameters) if isinstance(parameters, dict) else None


def _check_fields(parameters: Mapping[str, object] | None) -> Mapping[str, object]:
    if parameters is None:
        raise RefusedError("InvalidParameter", "The body is not a JSON object.")
    for name, value in parameters.items():
        if name not in _FIELDS:
            raise RefusedError("UnknownParameter", f"The parameter {name!r} is not defined.")
        if type(value) is not _FIELDS[name]:
            raise RefusedError("InvalidParameter", f"The type of {name} is wrong.")
    for name in ("SmsSdkAppId", "SerialNo"):
        if name not in parameters:
            raise RefusedError("MissingParameter", f"The request misses the parameter {name}.")
        if not parameters[name]:
            raise RefusedError("InvalidParameterValue", f"{name} is empty.")
    return parameters


def _check_time(value: object, now: float) -> None:
    if not isinstance(value, int):
        return
    if value >= MILLISECONDS_FROM:
        raise RefusedError("InvalidParameterValue", "ConversionTime is not in seconds.")
    if not 0 < value < now:
        raise RefusedError("InvalidParameterValue", "ConversionTime must be after 0 and before now.")
