"""One sample per provider: what the suite for every provider has to know of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from otpreport import Verification
from providers import REGISTRY, Answer, Provider, SignedRequest

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "data/signature-vectors.json").read_bytes()
)
"""Published signatures, and some captured from the official SDKs; the keys in them are made up."""

NOW = 1_700_000_000.25
NONCE = "0123456789abcdef0123456789abcdef"
REQUEST_ID = "14bb5a5d-8f0f-4d3c-a7b1-0d1d4f9a1111"
KEY = "EXAMPLEsecretKEYexampleSECRETkey9"
TOKEN = "EXAMPLEststoken+/=="


@dataclass(frozen=True, slots=True)
class Reported:
    """What a request says; the time in UNIX ms."""

    message_id: str
    verified: bool
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A provider's credentials, the shapes of its answers and the reading of its requests."""

    name: str
    options: Mapping[str, str]
    secrets: tuple[str, ...]
    success: str
    throttled: str
    permanent: str
    account: str
    denied: str
    unit_ms: int
    has_nonce: bool
    fields: tuple[str, ...]
    """What a report, and no probe, names in its query or body: the message id first."""
    final_body: Callable[[str, str], bytes]
    gateway_body: Callable[[str, str], bytes]
    reported: Callable[[SignedRequest], Reported]
    path: str = ""
    """Where reports go below the endpoint."""
    signed_by: str = "authorization"
    """The header that holds the signature, in lower case."""

    @property
    def token(self) -> str | None:
        """The session token of its temporary credentials; None where the provider knows none."""
        return self.options.get("security_token")

    def signature(self, request: SignedRequest) -> str:
        """Return what proves who sent a request."""
        return next(value for name, value in request.headers if name.lower() == self.signed_by)

    def provider(self, endpoint: str | None = None, **options: str) -> Provider:
        """Build the provider, with the temporary credentials of the sample."""
        kind = REGISTRY[self.name]
        return kind(endpoint or kind.endpoint, kind.Options.model_validate({**self.options, **options}))

    def final(self, code: str, message: str = "", status: int = 200) -> Answer:
        """Answer at the level of the report."""
        return Answer(status, {"content-type": "application/json"}, self.final_body(code, message))

    def gateway(self, code: str, message: str = "", status: int = 400) -> Answer:
        """Answer at the level of the request."""
        return Answer(status, {"content-type": "application/json"}, self.gateway_body(code, message))


def event(**fields: object) -> Verification:
    """Make an event that occurred ten seconds before `NOW`."""
    base: dict[str, object] = {
        "account": "main",
        "message_id": "5000:104571",
        "occurred_at": 1_699_999_990_123,
    }
    return Verification.from_wire(base | fields)


def vector(scheme: str, start: str) -> dict[str, Any]:
    """Return the published vector of a signature scheme whose name starts so."""
    return next(vector for vector in VECTORS[scheme] if vector["name"].startswith(start))


def _tencent_final(code: str, message: str) -> bytes:
    status = {"Code": code, "Message": message}
    return json.dumps({"Response": {"ReportConversionStatus": status, "RequestId": REQUEST_ID}}).encode()


def _tencent_gateway(code: str, message: str) -> bytes:
    error = {"Code": code, "Message": message}
    return json.dumps({"Response": {"Error": error, "RequestId": REQUEST_ID}}).encode()


def _tencent_reported(request: SignedRequest) -> Reported:
    body = json.loads(request.body)
    seconds = body.get("ConversionTime")
    return Reported(body["SerialNo"], verified=True, time_ms=None if seconds is None else seconds * 1000)


def _alibaba_final(code: str, message: str) -> bytes:
    return json.dumps(
        {"ResponseCode": code, "ResponseDescription": message, "RequestId": REQUEST_ID}
    ).encode()


def _alibaba_gateway(code: str, message: str) -> bytes:
    host = "dysmsapi.ap-southeast-1.aliyuncs.com"
    return json.dumps(
        {"RequestId": REQUEST_ID, "HostId": host, "Code": code, "Message": message, "Recommend": "https://x"}
    ).encode()


def _alibaba_cn_final(code: str, message: str) -> bytes:
    return json.dumps({"Code": code, "Message": message, "RequestId": REQUEST_ID}).encode()


def _alibaba_reported(request: SignedRequest) -> Reported:
    query = parse_qs(urlsplit(request.url).query, strict_parsing=True)
    time = query.get("ConversionTime")
    verified = {"true": True, "false": False}[query["Delivered"][0]]
    return Reported(query["MessageId"][0], verified, None if time is None else int(time[0]))


_ALIBABA = {"access_key_id": "LTAI5tEXAMPLEEXAMPLE0001", "access_key_secret": KEY, "security_token": TOKEN}
_TENCENT = {
    "secret_id": "AKIDEXAMPLEEXAMPLEEXAMPLEEXAMPLE0001",
    "secret_key": KEY,
    "sdk_app_id": "1400000001",
    "security_token": TOKEN,
}

SAMPLES = {
    sample.name: sample
    for sample in (
        Sample(
            name="tencent",
            options=_TENCENT,
            secrets=(KEY, TOKEN),
            success="ok",
            throttled="RequestLimitExceeded",
            permanent="InvalidParameterValue",
            account="AuthFailure.SecretIdNotFound",
            denied="AuthFailure.UnauthorizedOperation",
            unit_ms=1000,
            has_nonce=False,
            fields=("SerialNo", "ConversionTime"),
            final_body=_tencent_final,
            gateway_body=_tencent_gateway,
            reported=_tencent_reported,
        ),
        Sample(
            name="alibaba",
            options=_ALIBABA,
            secrets=(KEY, TOKEN),
            success="OK",
            throttled="Throttling.User",
            permanent="INVALID_PARAMETERS",
            account="InvalidAccessKeyId.NotFound",
            denied="Forbidden.RAM",
            unit_ms=1,
            has_nonce=True,
            fields=("MessageId", "Delivered", "ConversionTime", "To="),
            final_body=_alibaba_final,
            gateway_body=_alibaba_gateway,
            reported=_alibaba_reported,
        ),
        Sample(
            name="alibaba_cn",
            options=_ALIBABA,
            secrets=(KEY, TOKEN),
            success="OK",
            throttled="Throttling.User",
            permanent="INVALID_PARAMETERS",
            account="InvalidAccessKeyId.NotFound",
            denied="Forbidden.RAM",
            unit_ms=1,
            has_nonce=True,
            fields=("MessageId", "Delivered", "ConversionTime", "To="),
            final_body=_alibaba_cn_final,
            gateway_body=_alibaba_gateway,
            reported=_alibaba_reported,
        ),
    )
}
