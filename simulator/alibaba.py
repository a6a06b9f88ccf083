"""Alibaba Cloud SMS: `SmsConversion` 2018-05-01 (international site), `SmsConversionIntl` 2017-05-25 (China).

Sources: alibabacloud.com/help/en/sms/developer-reference/api-dysmsapi-2018-05-01-smsconversion,
help.aliyun.com ... api-dysmsapi-2017-05-25-smsconversionintl, 2593177 (signature V3), 48054 (errors).
Nothing here is shared with the code that signs: the simulator judges it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote_plus

import orjson

from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request
from simulator.settings import Key

WINDOW = 900  # seconds the date may be off, and for which a nonce is remembered
THROTTLED = "Throttling.User"
MILLISECONDS_FROM = 100_000_000_000  # fewer milliseconds would lie before March 1973: they must be seconds

_JSON = b"application/json;charset=utf-8"
_AUTHORIZATION = re.compile(
    rb"ACS3-HMAC-SHA256 +Credential=([^,\s]+), *SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})\s*"
)
_KEY_ID = re.compile(rb"Credential=([^/,\s]+)")
_NEEDED = (  # header, the parameter it stands for in an error code
    (b"x-acs-action", "Action"),
    (b"x-acs-version", "Version"),
    (b"x-acs-date", "Timestamp"),
    (b"x-acs-signature-nonce", "SignatureNonce"),
    (b"x-acs-content-sha256", "ContentSha256"),
)
_STATUS = {
    "Forbidden": 403,
    "Forbidden.RAM": 403,
    "InternalError": 500,
    "InvalidAccessKeyId.NotFound": 404,
    "InvalidApi.NotFound": 404,
    "InvalidProduct.NotFound": 404,
    "NoPermission": 403,
    "ServiceUnavailable": 503,
}


@dataclass(frozen=True, slots=True)
class _Api:
    """One of the two calls."""

    provider: str
    version: bytes
    parameters: frozenset[str]
    code: str  # the name of the status field
    message: str
    taken: bytes


_APIS = {
    "SmsConversion": _Api(
        "alibaba",
        b"2018-05-01",
        frozenset({"MessageId", "Delivered", "ConversionTime", "To"}),
        "ResponseCode",
        "ResponseDescription",
        b'{"ResponseCode":"OK","ResponseDescription":"OK","RequestId":"%s"}',
    ),
    "SmsConversionIntl": _Api(
        "alibaba_cn",
        b"2017-05-25",
        frozenset(
            {"MessageId", "Delivered", "ConversionTime", "OwnerId", "ResourceOwnerAccount", "ResourceOwnerId"}
        ),
        "Code",
        "Message",
        b'{"Code":"OK","Message":"OK","RequestId":"%s"}',
    ),
}
_NAMES = {api.provider for api in _APIS.values()}
_DEFAULT_API = _APIS["SmsConversion"]


class Alibaba:
    """The call of one provider: read it, authenticate it, validate it, answer it."""

    throttled = THROTTLED
    says_when = b"x-acs-retry-after"
    replayed = "SignatureNonceUsed"

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys: dict[tuple[str, str], Key] = {
            (key.provider, key.id): key for key in keys if key.provider in _NAMES
        }

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Alibaba."""
        headers = request.headers
        return b"x-acs-action" in headers or headers.get(b"authorization", b"").startswith(b"ACS3-")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        headers = request.headers
        action = headers.get(b"x-acs-action", b"").decode("latin-1")
        found = _KEY_ID.search(headers.get(b"authorization", b""))
        query = request.target.partition(b"?")[2].decode("latin-1")
        pairs = _pairs(query)
        parameters = dict(pairs)
        return Call(
            request,
            _APIS.get(action, _DEFAULT_API).provider,
            action,
            key=found[1].decode("latin-1") if found else "",
            message_id=parameters.get("MessageId", ""),
            verified=parameters.get("Delivered", "").lower() != "false",
            nonce=headers.get(b"x-acs-signature-nonce", b""),
            query=_canonical_query(pairs),
            parameters=parameters if len(parameters) == len(pairs) else None,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names, of the site it calls."""
        return self._keys.get((call.provider, call.key))

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        headers = call.request.headers
        match = _authorization(headers)
        key = self.key(call)
        if key is None:
            raise RefusedError("InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        if abs(now - _time(headers[b"x-acs-date"])) > WINDOW:
            raise RefusedError("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
        _check_token(headers.get(b"x-acs-security-token", b"").decode("latin-1"), key.token)
        _check_signature(call, match[2], match[3], key.secret)

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        api = _check_api(call)
        if self._keys[call.provider, call.key].denied:
            raise RefusedError("Forbidden.RAM", "User not authorized to operate on the specified resource.")
        parameters = _check_names(call, api)
        if not parameters["MessageId"]:
            raise RefusedError("InvalidParameter", "MessageId is empty.")
        # The official Python SDK writes True; the documents say true.
        if str(parameters["Delivered"]).lower() not in {"true", "false"}:
            raise RefusedError("InvalidParameter", "Delivered is neither true nor false.")
        _check_time(parameters.get("ConversionTime"), now)

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        return Reply(200, _APIS.get(call.action, _DEFAULT_API).taken % request_id, _JSON)

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an error: HTTP 200 for business codes (in capitals), the gateway's form for others."""
        if is_business(code):
            return self.inner_error(call, code, message, request_id)
        body = {
            "RequestId": request_id.decode(),
            "HostId": call.request.headers.get(b"host", b"").decode("latin-1"),
            "Code": code,
            "Message": message,
            "Recommend": f"https://api.alibabacloud.com/troubleshoot?q={quote(code)}&product=Dysmsapi",
        }
        return Reply(_STATUS.get(code, 400), orjson.dumps(body), _JSON)

    def inner_error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with a status inside that is not OK."""
        api = _APIS.get(call.action, _DEFAULT_API)
        body = {api.code: code, api.message: message, "RequestId": request_id.decode()}
        return Reply(200, orjson.dumps(body), _JSON)


def is_business(code: str) -> bool:
    """Return whether a code is of the SMS product rather than of the gateway."""
    bare = code.removeprefix("isv.").removeprefix("isp.")
    return bare == bare.upper()


def signature(
    secret: str,
    *,
    method: bytes,
    query: str,
    headers: Mapping[bytes, bytes],
    signed: Sequence[bytes],
    body: bytes,
) -> tuple[str, str]:
    """Return the ACS3-HMAC-SHA256 signature over the headers in `signed`, and the canonical request."""
    names = sorted(signed)
    lines = b"".join(b"%s:%s\n" % (name, headers.get(name, b"").strip()) for name in names)
    digest = hashlib.sha256(body).hexdigest().encode()
    canonical = b"%s\n/\n%s\n%s\n%s\n%s" % (method, query.encode(), lines, b";".join(names), digest)
    text = b"ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical).hexdigest().encode()
    return hmac.digest(secret.encode(), text, "sha256").hex(), canonical.decode("latin-1")


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Return the query as it is signed."""
    return _canonical_query(list(parameters.items()))


def _canonical_query(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    return text if text.isalnum() and text.isascii() else quote(text, safe="")


def _decoded(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        pairs.append((_decoded(name), _decoded(value)))
    return pairs


def _authorization(headers: Mapping[bytes, bytes]) -> re.Match[bytes]:
    for header, name in _NEEDED:
        if not headers.get(header):
            raise RefusedError(f"Missing{name}", f"{name} is mandatory for this action.")
    match = _AUTHORIZATION.fullmatch(headers.get(b"authorization", b""))
    if match is None:
        raise RefusedError(
            "IncompleteSignature", "The request signature does not conform to Aliyun standards."
        )
    signed = set(match[2].split(b";"))
    for header in headers:
        if header not in signed and (header.startswith(b"x-acs-") or header in {b"host", b"content-type"}):
            raise RefusedError(
                "IncompleteSignature", f"The header {header.decode('latin-1')} must be signed."
            )
    return match


@lru_cache(maxsize=1024)
def _time(text: bytes) -> float:
    try:
        return datetime.strptime(text.decode("latin-1"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise RefusedError(
            "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."
        ) from None


def _check_token(given: str, expected: str) -> None:
    if expected and not given:
        raise RefusedError("MissingSecurityToken", "SecurityToken is mandatory for this action.")
    if given != expected:
        raise RefusedError(
            "InvalidSecurityToken.MismatchWithAccessKey",
            "Specified SecurityToken mismatch with the AccessKey.",
        )


def _check_signature(call: Call, signed: bytes, given: bytes, secret: str) -> None:
    request = call.request
    if hashlib.sha256(request.body).hexdigest().encode() != request.headers[b"x-acs-content-sha256"]:
        raise RefusedError("SignatureDoesNotMatch", "x-acs-content-sha256 is not the hash of the body.")
    expected, canonical = signature(
        secret,
        method=request.method,
        query=call.query,
        headers=request.headers,
        signed=signed.split(b";"),
        body=request.body,
    )
    if not hmac.compare_digest(expected.encode(), given):
        raise RefusedError(
            "SignatureDoesNotMatch",
            f"Specified signature is not matched with our calculation. server string to sign is: {canonical}",
        )


def _check_api(call: Call) -> _Api:
    request = call.request
    if request.method not in {b"GET", b"POST"}:
        raise RefusedError("UnsupportedHTTPMethod", "This http method is not supported.")
    api = _APIS.get(call.action)
    is_known = api is not None and request.headers[b"x-acs-version"] == api.version
    if api is None or not is_known or request.target.partition(b"?")[0] != b"/":
        raise RefusedError(
            "InvalidApi.NotFound", "Specified api is not found, please check your url and method."
        )
    return api


def _check_names(call: Call, api: _Api) -> Mapping[str, object]:
    if call.parameters is None:
        raise RefusedError("InvalidParameter", "A parameter is there twice.")
    if call.request.body:
        raise RefusedError("InvalidParameter", "The parameters belong in the query; the body must be empty.")
    for name in call.parameters:
        if name not in api.parameters:
            raise RefusedError("InvalidParameter", f"The parameter {name!r} is not defined.")
    for name in ("MessageId", "Delivered"):
        if name not in call.parameters:
            raise RefusedError(f"Missing{name}", f"{name} is mandatory for this action.")
    return call.parameters


def _check_time(value: object, now: float) -> None:
    if value is None:
        return
    text = str(value)
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise RefusedError("InvalidParameter", "ConversionTime is not a number of milliseconds.")
    if int(text) < MILLISECONDS_FROM:
        raise RefusedError("INVALID_PARAMETERS", "ConversionTime is not in milliseconds.")
    if int(text) >= now * 1000:
        raise RefusedError("INVALID_PARAMETERS", "ConversionTime must be before now.")
