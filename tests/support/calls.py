"""Provider calls built by hand, right ones and wrong ones, and a client that sends exactly their bytes.

They are signed with the simulator's own signatures, which the published vectors prove.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from simulator import alibaba, tencent

TENCENT_KEY: dict[str, object] = {
    "provider": "tencent",
    "id": "AKIDTEST",
    "secret": "tencent-secret",
    "apps": ["1400006666"],
}
TENCENT_TEMPORARY: dict[str, object] = TENCENT_KEY | {"id": "AKIDTEMPORARY", "token": "tencent-token"}
ALIBABA_KEY: dict[str, object] = {"provider": "alibaba", "id": "LTAITEST", "secret": "alibaba-secret"}
ALIBABA_TEMPORARY: dict[str, object] = ALIBABA_KEY | {"id": "LTAITEMPORARY", "token": "token+/="}
ALIBABA_CN_KEY: dict[str, object] = {"provider": "alibaba_cn", "id": "LTAICHINA", "secret": "china-secret"}
AWS_KEY: dict[str, object] = {"provider": "aws", "id": "AKIATEST", "secret": "aws-secret"}
AWS_TEMPORARY: dict[str, object] = AWS_KEY | {"id": "ASIATEMPORARY", "token": "aws-token+/="}
VOLCENGINE_KEY: dict[str, object] = {"provider": "volcengine", "id": "AKLTTEST", "secret": "volc-secret=="}
VOLCENGINE_TEMPORARY: dict[str, object] = VOLCENGINE_KEY | {"id": "AKTPTEMPORARY", "token": "volc-token+/="}
BYTEPLUS_KEY: dict[str, object] = {"provider": "byteplus", "id": "AKLTBYTEPLUS", "secret": "byte-secret"}
KEYS = [
    TENCENT_KEY,
    TENCENT_TEMPORARY,
    ALIBABA_KEY,
    ALIBABA_TEMPORARY,
    ALIBABA_CN_KEY,
    AWS_KEY,
    AWS_TEMPORARY,
    VOLCENGINE_KEY,
    VOLCENGINE_TEMPORARY,
    BYTEPLUS_KEY,
]
HOST = "provider.example"


@dataclass(frozen=True, slots=True)
class WireCall:
    """A signed request; change a field and the signature is wrong."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    def with_header(self, name: str, value: str | None) -> WireCall:
        """Return the call with one header set or, for None, left out."""
        headers = dict(self.headers) | {name: value or ""}
        if value is None:
            del headers[name]
        return replace(self, headers=headers)

    def encode(self) -> bytes:
        """Return the bytes of the request."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The provider's code, wherever it stands; `ok` in lower case for every kind of success."""
        data = json.loads(self.body)
        data = data.get("Response", data)
        data = data.get("Error") or data.get("ReportConversionStatus") or data
        code: str = data.get("Code") or data.get("ResponseCode")
        return "ok" if code.lower() == "ok" else code


def tencent_call(
    message_id: str = "5000:1",
    *,
    key: Mapping[str, object] = TENCENT_KEY,
    fields: Mapping[str, object] | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    timestamp: int | None = None,
    signed: str = "content-type;host",
) -> WireCall:
    """Return a right call, with `fields` over the body's (None: left out) and `headers` over the headers."""
    at = int(time.time()) if timestamp is None else timestamp
    values = {"SmsSdkAppId": "1400006666", "SerialNo": message_id} | dict(fields or {})
    payload = (
        json.dumps({k: v for k, v in values.items() if v is not None}).encode() if body is None else body
    )
    sent = {
        "Host": HOST,
        "Content-Type": "application/json",
        "X-TC-Action": "ReportConversion",
        "X-TC-Version": "2021-01-11",
        "X-TC-Region": "ap-singapore",
        "X-TC-Timestamp": str(at),
    } | dict(headers or {})
    if key.get("token"):
        sent.setdefault("X-TC-Token", str(key["token"]))
    signature = tencent.signature(
        str(key["secret"]),
        method=method.encode(),
        query=b"",
        headers={name.lower().encode(): value.encode() for name, value in sent.items()},
        signed=signed.encode(),
        body=payload,
        timestamp=at,
    )
    scope = f"{key['id']}/{datetime.fromtimestamp(at, UTC):%Y-%m-%d}/sms/tc3_request"
    sent["Authorization"] = (
        f"TC3-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}"
    )
    return WireCall(method, "/", sent, payload)


def alibaba_call(
    message_id: str = "1008030300001",
    *,
    key: Mapping[str, object] = ALIBABA_KEY,
    fields: Mapping[str, str | None] | None = None,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    path: str = "/",
    body: bytes = b"",
    at: float | None = None,
    nonce: str | None = None,
    unsigned: frozenset[str] = frozenset(),
) -> WireCall:
    """Return a right call of the key's site, `fields` over the query's, `headers` over the headers."""
    is_intl = key["provider"] == "alibaba_cn"
    values = {"MessageId": message_id, "Delivered": "true"} | dict(fields or {})
    query = alibaba.canonical_query({k: v for k, v in values.items() if v is not None})
    sent = {
        "host": HOST,
        "x-acs-action": "SmsConversionIntl" if is_intl else "SmsConversion",
        "x-acs-version": "2017-05-25" if is_intl else "2018-05-01",
        "x-acs-date": f"{datetime.fromtimestamp(time.time() if at is None else at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "x-acs-signature-nonce": nonce or uuid.uuid4().hex,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
    } | dict(headers or {})
    if key.get("token"):
        sent.setdefault("x-acs-security-token", str(key["token"]))
    signed = sorted(name for name in sent if name not in unsigned)
    signature, _ = alibaba.signature(
        str(key["secret"]),
        method=method.encode(),
        query=query,
        headers={name.encode(): value.encode() for name, value in sent.items()},
        signed=[name.encode() for name in signed],
        body=body,
    )
    sent["Authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={key['id']},SignedHeaders={';'.join(signed)},Signature={signature}"
    )
    return WireCall(method, f"{path}?{query}", sent, body)


def right_call(provider: str, message_id: str) -> WireCall:
    """Return a right call of a provider."""
    if provider == "tencent":
        return tencent_call(message_id)
    return alibaba_call(message_id, key=ALIBABA_KEY if provider == "alibaba" else ALIBABA_CN_KEY)


def send(url: str, call: WireCall, *, timeout: float = 20.0) -> WireAnswer:
    """Send a call over a connection of its own; what http.client raises is left to the test."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.putrequest(call.method, call.target, skip_host=True, skip_accept_encoding=True)
        for name, value in call.headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(call.body)))
        connection.endheaders(call.body)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return WireAnswer(response.status, headers, response.read())
    finally:
        connection.close()
