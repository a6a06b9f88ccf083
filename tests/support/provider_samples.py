"""One sample per provider: what the suite for every provider has to know of it."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

from otpreport import Verification
from providers import REGISTRY, Answer, Provider, Result, SignedRequest

DATA = Path(__file__).parents[1] / "data"
VECTORS: dict[str, list[dict[str, Any]]] = {
    **json.loads((DATA / "signature-vectors.json").read_bytes()),
    **json.loads((DATA / "signature-vectors-more.json").read_bytes()),
}
"""Published signatures, and some captured from the official SDKs; the keys in them are made up."""

NOW = 1_700_000_000.25
NONCE = "0123456789abcdef0123456789abcdef"
REQUEST_ID = "14bb5a5d-8f0f-4d3c-a7b1-0d1d4f9a1111"
KEY = "EXAMPLEsecretKEYexampleSECRETkey9"
TOKEN = "EXAMPLEststoken+/=="
JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain; charset=utf-8"}
EMPTY = {"content-length": "0"}


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
    """Everything in its requests that nobody may see: keys, tokens, and what Basic makes of them."""
    throttled: str
    account: str
    denied: str
    incomplete: str
    """The code of a report that misses its message, as a probe does."""
    key: Mapping[str, object]
    """The key as the simulator has to know it, without the provider's name."""
    reported: Callable[[SignedRequest], Reported]
    fields: tuple[str, ...] = ()
    """What a report, and no probe, names in its query or body; nothing where the path says all."""
    permanent: str | None = None
    """None: no code of its is permanent whatever the status."""
    success: str = "recorded"
    taken: tuple[Answer, ...] = ()
    """What proves a delivery where success has no code of its own."""
    statuses: frozenset[int] = frozenset({200})
    """The statuses of success."""
    by_status: Mapping[int, Result] = field(default_factory=dict[int, Result])
    """What a status says by itself."""
    final_body: Callable[[str, str], bytes] | None = None
    """How a code and a message are said of the report; None: they are not."""
    gateway_body: Callable[[str, str], bytes] | None = None
    """How they are said of the request; None: its codes are statuses."""
    request_id: str = REQUEST_ID
    """That of a success, here in the body or in `taken`; empty where there is none."""
    variant: str = ""
    """Which of several ways to sign in it shows."""
    method: str = "POST"
    path: str = ""
    """Where reports go below the endpoint; `{id}` is the message's id."""
    query: str = ""
    """The query of every request, a probe's too, with its `?`."""
    probe_id: str = ""
    """The id in the path of a probe."""
    unit_ms: int | None = 1
    """None: it takes no time."""
    needs_time: bool = False
    has_nonce: bool = False
    signed_by: str = "authorization"
    """The header in lower case, or the parameter of a form, that holds the signature or the password."""
    signs: frozenset[str] = frozenset()
    """What another signature comes of: `id`, `occurred`, `now` and `host`; nothing where a password is sent."""
    token_option: str = "security_token"
    """The option for the session token of temporary credentials."""
    endpoint: str | None = None
    """Where its requests go; None: to the provider's default."""

    @property
    def label(self) -> str:
        """Name the sample."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    @property
    def token(self) -> str | None:
        """The session token of its temporary credentials; None where the provider knows none."""
        return self.options.get(self.token_option)

    def signature(self, request: SignedRequest) -> str:
        """Return what proves who sent a request."""
        headers = {name.lower(): value for name, value in request.headers}
        return headers.get(self.signed_by) or dict(parse_qsl(request.body.decode()))[self.signed_by]

    def provider(self, endpoint: str | None = None, **options: str) -> Provider:
        """Build the provider, with the temporary credentials of the sample."""
        kind = REGISTRY[self.name]
        filled = kind.Options.model_validate({**self.options, **options})
        return kind(endpoint or self.endpoint or kind.endpoint.format_map(dict(filled)), filled)

    def where(self, message_id: str) -> str:
        """Return the path of a report, or of a probe, below the endpoint."""
        return self.path.replace("{id}", quote(message_id, safe=""))

    def bodies(self, code: str, message: str = "") -> list[bytes]:
        """Return a code in every form in which a body can say it."""
        return [says(code, message) for says in (self.final_body, self.gateway_body) if says]

    def successes(self, message: str = "") -> list[tuple[str, Answer]]:
        """Return the answers that prove a delivery, each with its code."""
        if self.final_body is None:
            return [(self.success, answer) for answer in self.taken]
        codes = (self.success, self.success.lower(), self.success.upper())
        return [(code, Answer(200, JSON, self.final_body(code, message))) for code in codes]

    def objects(self) -> list[Answer]:
        """Return those of them that are JSON objects."""
        return [answer for _, answer in self.successes() if answer.body.startswith(b"{")]

    def final(self, code: str, message: str = "", status: int = 200) -> Answer:
        """Answer with a code at the level of the report."""
        assert self.final_body is not None, f"{self.label} has no codes there"
        return Answer(status, JSON, self.final_body(code, message))

    def gateway(self, code: str, message: str = "", status: int = 400) -> Answer:
        """Answer with a code at the level of the request, or with the status that it is."""
        if self.gateway_body is None:
            return Answer(int(code), TEXT, message.encode())
        return Answer(status, JSON, self.gateway_body(code, message))

    def alone(self, answer: Answer) -> Result:
        """Return what an answer without any code says, by its status or by being nothing but success."""
        if "html" in answer.headers.get("content-type", "").lower():
            return Result.THROTTLED if answer.status == 429 else Result.UNKNOWN
        ends = answer.body or answer.status == 204 or "content-length" in answer.headers
        if ends and answer.status in self.statuses and answer.body in {taken.body for taken in self.taken}:
            return Result.DELIVERED
        if answer.status == 429:
            return Result.THROTTLED
        is_short = len(answer.body) <= 200 and not answer.body.lstrip().startswith(b"<")
        return self.by_status.get(answer.status, Result.UNKNOWN) if is_short else Result.UNKNOWN


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


def _twilio_gateway(code: str, message: str) -> bytes:
    number = int(code) if code.isdecimal() and code.isascii() and len(code) == 5 else code
    return json.dumps({"code": number, "message": message, "more_info": "https://x", "status": 400}).encode()


def _twilio_reported(request: SignedRequest) -> Reported:
    message_id = unquote(urlsplit(request.url).path.split("/")[5])
    outcome = dict(parse_qsl(request.body.decode(), strict_parsing=True))["Outcome"]
    return Reported(message_id, {"confirmed": True, "unconfirmed": False}[outcome], None)


def _twilio_verify_reported(request: SignedRequest) -> Reported:
    message_id = unquote(urlsplit(request.url).path.rpartition("/")[2])
    status = dict(parse_qsl(request.body.decode(), strict_parsing=True))["Status"]
    return Reported(message_id, {"approved": True, "canceled": False}[status], None)


def _vonage_reported(request: SignedRequest) -> Reported:
    form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
    at = datetime.strptime(form["timestamp"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    verified = {"true": True, "false": False}[form["delivered"]]
    return Reported(form["message-id"], verified, int(at.timestamp()) * 1000)


def _iso_ms(body: Mapping[str, str]) -> int | None:
    at = body.get("timestamp")
    if at is None:
        return None
    since = datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC) - datetime(
        1970, 1, 1, tzinfo=UTC
    )
    return since // timedelta(milliseconds=1)


def _8x8_gateway(code: str, message: str) -> bytes:
    number = int(code) if code.isdecimal() and code.isascii() and len(code) == 4 else code
    return json.dumps(
        {"code": number, "message": message, "errorId": REQUEST_ID, "timestamp": "2023-11-14T22:13:20.12Z"}
    ).encode()


def _8x8_reported(request: SignedRequest) -> Reported:
    body = json.loads(request.body)
    message_id = unquote(urlsplit(request.url).path.split("/")[6])
    return Reported(message_id, {"success": True, "failure": False}[body["outcome"]], _iso_ms(body))


def _aws_gateway(code: str, message: str) -> bytes:
    return json.dumps({"__type": f"com.amazonaws.pinpointsmsvoicev2#{code}", "Message": message}).encode()


def _aws_reported(request: SignedRequest) -> Reported:
    body = json.loads(request.body)
    verified = {"RECEIVED": True, "FAILED": False}[body["MessageFeedbackStatus"]]
    return Reported(body["MessageId"], verified, None)


def _bird_reported(request: SignedRequest) -> Reported:
    body = json.loads(request.body)
    message_id = unquote(urlsplit(request.url).path.split("/")[6])
    return Reported(message_id, {"converted": True, "not_converted": False}[body["status"]], _iso_ms(body))


def _messagebird_gateway(code: str, message: str) -> bytes:
    number = int(code) if code.isdecimal() and code.isascii() and len(code) < 4 else code
    return json.dumps({"errors": [{"code": number, "description": message, "parameter": None}]}).encode()


def _messagebird_reported(request: SignedRequest) -> Reported:
    body = json.loads(request.body)
    assert body["service"] == "sms"
    return Reported(body["id"], body["success"], None)


def _telesign_code(code: str, message: str) -> dict[str, object]:
    number = int(code) if code.removeprefix("-").isdecimal() and code.isascii() and len(code) < 7 else code
    return {"code": number, "description": message}


def _telesign_final(code: str, message: str) -> bytes:
    status = _telesign_code(code, message) | {"updated_on": "2023-11-14T22:13:20.123456Z"}
    return json.dumps({"reference_id": "x", "sub_resource": "sms", "errors": [], "status": status}).encode()


def _telesign_gateway(code: str, message: str) -> bytes:
    return json.dumps({"errors": [_telesign_code(code, message)], "signature_string": "PUT"}).encode()


def _telesign_reported(request: SignedRequest) -> Reported:
    return Reported(unquote(urlsplit(request.url).path.rpartition("/")[2]), verified=True, time_ms=None)


def _infobip_gateway(code: str, message: str) -> bytes:
    exception = {"messageId": code, "text": message}
    return json.dumps({"requestError": {"serviceException": exception}}).encode()


def _infobip_reported(request: SignedRequest) -> Reported:
    assert request.body == b""
    return Reported(unquote(urlsplit(request.url).path.split("/")[5]), verified=True, time_ms=None)


def _plivo_reported(request: SignedRequest) -> Reported:
    body = json.loads(request.body)
    message_id = unquote(urlsplit(request.url).path.split("/")[5])
    return Reported(message_id, {"CONVERTED": True, "NOT_CONVERTED": False}[body["status"]], _iso_ms(body))


def _sinch_gateway(code: str, message: str) -> bytes:
    return json.dumps({"code": code, "text": message}).encode()


def _sinch_reported(request: SignedRequest) -> Reported:
    assert json.loads(request.body) == {"recipients": []}
    return Reported(unquote(urlsplit(request.url).path.split("/")[5]), verified=True, time_ms=None)


def _volcengine_metadata(**more: object) -> dict[str, object]:
    return {"RequestId": REQUEST_ID, "Action": "Conversion", "Version": "2020-01-01", **more}


def _volcengine_gateway(code: str, message: str) -> bytes:
    error = {"CodeN": 100000, "Code": code, "Message": message}
    return json.dumps({"ResponseMetadata": _volcengine_metadata(Error=error)}).encode()


def _volcengine_reported(request: SignedRequest) -> Reported:
    (message_id,) = json.loads(request.body)["MessageIDs"]
    return Reported(message_id, True, None)


def _basic(user: str, password: str) -> str:
    return b64encode(f"{user}:{password}".encode()).decode()


_ALL = frozenset({"id", "occurred", "now", "host"})
_ALIBABA = {"access_key_id": "LTAI5tEXAMPLEEXAMPLE0001", "access_key_secret": KEY, "security_token": TOKEN}
_TENCENT = {
    "secret_id": "AKIDEXAMPLEEXAMPLEEXAMPLEEXAMPLE0001",
    "secret_key": KEY,
    "sdk_app_id": "1400000001",
    "security_token": TOKEN,
}

_AWS = {
    "access_key_id": "ASIAEXAMPLEEXAMPLE01",
    "secret_access_key": KEY,
    "session_token": TOKEN,
    "region": "eu-west-1",
}

_VOLCENGINE = Sample(
    name="volcengine",
    options={"access_key_id": "AKLTEXAMPLEEXAMPLE01", "secret_access_key": KEY, "session_token": TOKEN},
    secrets=(KEY, TOKEN),
    throttled="FlowLimitExceeded",
    permanent="RE:0009",
    account="InvalidAccessKey",
    denied="AccessDenied",
    incomplete="RE:0009",
    key={"id": "AKLTEXAMPLEEXAMPLE01", "secret": KEY, "token": TOKEN},
    query="?Action=Conversion&Version=2020-01-01",
    taken=(
        Answer(200, JSON, json.dumps({"ResponseMetadata": _volcengine_metadata(), "Result": ""}).encode()),
    ),
    gateway_body=_volcengine_gateway,
    unit_ms=None,
    signs=frozenset({"id", "now", "host"}),
    fields=("MessageIDs",),
    token_option="session_token",
    reported=_volcengine_reported,
)

_TWILIO_SID = "AC00000000000000000000000000000001"
_TWILIO_KEY = "SK22222222222222222222222222222222"
_TWILIO = Sample(
    name="twilio",
    options={"account_sid": _TWILIO_SID, "auth_token": KEY},
    secrets=(KEY, _basic(_TWILIO_SID, KEY)),
    throttled="20429",
    permanent="20422",
    account="20003",
    denied="20403",
    incomplete="20404",
    key={"id": _TWILIO_SID, "secret": KEY},
    taken=tuple(
        Answer(
            status,
            JSON | {"twilio-request-id": REQUEST_ID},
            json.dumps({"account_sid": _TWILIO_SID, "message_sid": "x", "outcome": "confirmed"}).encode(),
        )
        for status in (200, 201)
    ),
    statuses=frozenset({200, 201}),
    gateway_body=_twilio_gateway,
    path=f"2010-04-01/Accounts/{_TWILIO_SID}/Messages/{{id}}/Feedback.json",
    probe_id="SM00000000000000000000000000000000",
    unit_ms=None,
    fields=("Outcome",),
    reported=_twilio_reported,
)
_WORKSPACE, _CHANNEL = "b4e02c85-c6d2-4b15-8885-e09671799c61", "7b0eb8a0-606b-59f1-bd90-43cacb048146"
_BIRD = Sample(
    name="bird",
    options={"access_key": KEY, "workspace_id": _WORKSPACE, "channel_id": _CHANNEL},
    secrets=(KEY,),
    throttled="429",
    account="401",
    denied="403",
    incomplete="404",
    key={"id": _WORKSPACE, "secret": KEY, "apps": [_CHANNEL]},
    taken=(
        Answer(200, EMPTY, b""),
        Answer(201, EMPTY, b""),
        Answer(202, JSON, json.dumps({"type": "otp", "status": "converted"}).encode()),
    ),
    statuses=frozenset({200, 201, 202}),
    by_status={
        400: Result.DOUBTFUL,
        401: Result.ACCOUNT,
        403: Result.ACCOUNT,
        404: Result.DOUBTFUL,
        422: Result.DOUBTFUL,
        503: Result.TRANSIENT,
    },
    request_id="",
    path=f"workspaces/{_WORKSPACE}/channels/{_CHANNEL}/messages/{{id}}/conversions",
    probe_id="00000000-0000-0000-0000-000000000000",
    fields=("status", "timestamp", "otp"),
    reported=_bird_reported,
)
_MESSAGEBIRD = Sample(
    name="messagebird",
    options={"access_key": KEY},
    secrets=(KEY,),
    throttled="429",
    permanent="10",
    account="2",
    denied="25",
    incomplete="9",
    key={"id": "messagebird-main", "secret": KEY},
    taken=(
        Answer(200, EMPTY, b""),
        Answer(204, {}, b""),
        Answer(201, JSON, json.dumps({"id": "5000:104571", "success": True}).encode()),
    ),
    statuses=frozenset({200, 201, 204}),
    gateway_body=_messagebird_gateway,
    request_id="",
    path="conversions",
    unit_ms=None,
    fields=('"id"', "success"),
    reported=_messagebird_reported,
)
_CUSTOMER, _TELESIGN_KEY = "FFFFFFFF-EEEE-DDDD-1234-AB1234567890", "RVhBTVBMRWtleUVYQU1QTEVrZXk5"
_TELESIGN = Sample(
    name="telesign",
    options={"customer_id": _CUSTOMER, "api_key": _TELESIGN_KEY},
    secrets=(_TELESIGN_KEY, _basic(_CUSTOMER, _TELESIGN_KEY)),
    success="1900",
    throttled="429",
    account="-30006",
    denied="-30001",
    incomplete="-30013",
    key={"id": _CUSTOMER, "secret": _TELESIGN_KEY},
    final_body=_telesign_final,
    gateway_body=_telesign_gateway,
    request_id="",
    method="PUT",
    path="v1/verify/completion/{id}",
    probe_id="0" * 32,
    unit_ms=None,
    has_nonce=True,
    signs=frozenset({"id", "now"}),
    reported=_telesign_reported,
)
_SERVICE = "VA33333333333333333333333333333333"
_TWILIO_VERIFY = replace(
    _TWILIO,
    name="twilio_verify",
    options={**_TWILIO.options, "service_sid": _SERVICE},
    key={**_TWILIO.key, "apps": [_SERVICE]},
    taken=(
        Answer(
            200,
            JSON | {"twilio-request-id": REQUEST_ID},
            json.dumps({"sid": "x", "service_sid": _SERVICE, "status": "approved", "valid": True}).encode(),
        ),
    ),
    statuses=frozenset({200}),
    path=f"v2/Services/{_SERVICE}/Verifications/{{id}}",
    probe_id="VE00000000000000000000000000000000",
    fields=("Status",),
    reported=_twilio_verify_reported,
)
_VONAGE = Sample(
    name="vonage",
    options={"api_key": "abcd1234", "api_secret": KEY},
    secrets=(KEY, _basic("abcd1234", KEY)),
    throttled="429",
    account="401",
    denied="402",
    incomplete="423",
    key={"id": "abcd1234", "secret": KEY},
    taken=(Answer(200, TEXT, b"OK"), Answer(200, EMPTY, b"")),
    by_status={
        401: Result.ACCOUNT,
        402: Result.ACCOUNT,
        420: Result.DOUBTFUL,
        422: Result.DOUBTFUL,
        423: Result.DOUBTFUL,
        503: Result.TRANSIENT,
    },
    request_id="",
    path="conversions/sms",
    unit_ms=1000,
    needs_time=True,
    fields=("message-id", "delivered"),
    reported=_vonage_reported,
)
_8X8 = Sample(
    name="8x8",
    options={"subaccount_id": "acme_OTP&co.hq-1", "api_key": KEY},
    secrets=(KEY,),
    throttled="1100",
    permanent="1008",
    account="1200",
    denied="1201",
    incomplete="1000",
    key={"id": "acme_OTP&co.hq-1", "secret": KEY},
    taken=(Answer(200, EMPTY, b""),),
    gateway_body=_8x8_gateway,
    request_id="",
    path="api/v1/subaccounts/acme_OTP%26co.hq-1/messages/{id}/feedback",
    probe_id="00000000-0000-0000-0000-000000000000",
    fields=("outcome", "timestamp"),
    reported=_8x8_reported,
)
_INFOBIP = Sample(
    name="infobip",
    options={"api_key": KEY},
    secrets=(KEY,),
    throttled="TOO_MANY_REQUESTS",
    permanent="BAD_REQUEST",
    account="UNAUTHORIZED",
    denied="FORBIDDEN",
    incomplete="NOT_FOUND",
    key={"id": "infobip-main", "secret": KEY},
    taken=(Answer(200, JSON, json.dumps({"processKey": REQUEST_ID}).encode()),),
    gateway_body=_infobip_gateway,
    path="ct/1/log/end/{id}",
    probe_id="otpreport-probe",
    unit_ms=None,
    endpoint="https://q1w2e3.api.infobip.example",
    reported=_infobip_reported,
)
_PLIVO_ID = "MAEXAMPLEEXAMPLE0001"
_PLIVO = Sample(
    name="plivo",
    options={"auth_id": _PLIVO_ID, "auth_token": KEY},
    secrets=(KEY, _basic(_PLIVO_ID, KEY)),
    throttled="429",
    account="401",
    denied="403",
    incomplete="404",
    key={"id": _PLIVO_ID, "secret": KEY},
    taken=tuple(
        Answer(
            status,
            JSON,
            json.dumps(
                {"api_id": REQUEST_ID, "conversion_uuid": "conv-x", "message": "successfully recorded."}
            ).encode(),
        )
        for status in (200, 201, 202)
    ),
    statuses=frozenset({200, 201, 202}),
    by_status={
        401: Result.ACCOUNT,
        403: Result.ACCOUNT,
        404: Result.DOUBTFUL,
        503: Result.TRANSIENT,
    },
    path=f"v1/account/{_PLIVO_ID}/message/{{id}}/conversion/",
    probe_id="00000000-0000-0000-0000-000000000000",
    needs_time=True,
    fields=("status", "timestamp"),
    reported=_plivo_reported,
)
_SINCH_PLAN = "5a4b3c2d1e0f00000000000000000001"
_SINCH = Sample(
    name="sinch",
    options={"service_plan_id": _SINCH_PLAN, "api_token": KEY, "region": "eu"},
    secrets=(KEY,),
    throttled="429",
    permanent="syntax_constraint_violation",
    account="401",
    denied="405",
    incomplete="404",
    key={"id": _SINCH_PLAN, "secret": KEY},
    taken=(Answer(202, EMPTY, b""),),
    statuses=frozenset({202}),
    by_status={
        401: Result.ACCOUNT,
        404: Result.DOUBTFUL,
        405: Result.ACCOUNT,
        415: Result.ACCOUNT,
        500: Result.TRANSIENT,
        503: Result.TRANSIENT,
    },
    gateway_body=_sinch_gateway,
    request_id="",
    path=f"xms/v1/{_SINCH_PLAN}/batches/{{id}}/delivery_feedback",
    probe_id="otpreport-probe",
    unit_ms=None,
    reported=_sinch_reported,
)

SAMPLES = {
    sample.label: sample
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
            incomplete="MissingParameter",
            key={"id": _TENCENT["secret_id"], "secret": KEY, "token": TOKEN, "apps": ["1400000001"]},
            unit_ms=1000,
            signs=_ALL,
            fields=("SerialNo", "ConversionTime"),
            final_body=_tencent_final,
            gateway_body=_tencent_gateway,
            reported=_tencent_reported,
        ),
        *(
            Sample(
                name=name,
                options=_ALIBABA,
                secrets=(KEY, TOKEN),
                success="OK",
                throttled="Throttling.User",
                permanent="INVALID_PARAMETERS",
                account="InvalidAccessKeyId.NotFound",
                denied="Forbidden.RAM",
                incomplete="MissingDelivered",
                key={"id": _ALIBABA["access_key_id"], "secret": KEY, "token": TOKEN},
                has_nonce=True,
                signs=_ALL,
                fields=("MessageId", "Delivered", "ConversionTime", "To="),
                final_body=final_body,
                gateway_body=_alibaba_gateway,
                reported=_alibaba_reported,
            )
            for name, final_body in (("alibaba", _alibaba_final), ("alibaba_cn", _alibaba_cn_final))
        ),
        Sample(
            name="aws",
            options=_AWS,
            secrets=(KEY, TOKEN),
            throttled="ThrottlingException",
            permanent="ValidationException",
            account="UnrecognizedClientException",
            denied="AccessDeniedException",
            incomplete="ValidationException",
            key={"id": _AWS["access_key_id"], "secret": KEY, "token": TOKEN},
            taken=(
                Answer(
                    200,
                    {"content-type": "application/x-amz-json-1.0", "x-amzn-requestid": REQUEST_ID},
                    json.dumps({"MessageId": "x", "MessageFeedbackStatus": "RECEIVED"}).encode(),
                ),
            ),
            gateway_body=_aws_gateway,
            unit_ms=None,
            signs=frozenset({"id", "now", "host"}),
            fields=("MessageId", "MessageFeedbackStatus"),
            token_option="session_token",
            reported=_aws_reported,
        ),
        _BIRD,
        _MESSAGEBIRD,
        _TELESIGN,
        replace(
            _TELESIGN,
            variant="basic",
            options={**_TELESIGN.options, "auth_method": "Basic"},
            signs=frozenset(),
        ),
        _TWILIO,
        replace(
            _TWILIO,
            variant="key",
            options={"account_sid": _TWILIO_SID, "api_key_sid": _TWILIO_KEY, "api_key_secret": KEY},
            secrets=(KEY, _basic(_TWILIO_KEY, KEY)),
            key={"id": _TWILIO_KEY, "secret": KEY, "account": _TWILIO_SID},
        ),
        _TWILIO_VERIFY,
        replace(
            _TWILIO_VERIFY,
            variant="key",
            options={
                "account_sid": _TWILIO_SID,
                "api_key_sid": _TWILIO_KEY,
                "api_key_secret": KEY,
                "service_sid": _SERVICE,
            },
            secrets=(KEY, _basic(_TWILIO_KEY, KEY)),
            key={"id": _TWILIO_KEY, "secret": KEY, "account": _TWILIO_SID, "apps": [_SERVICE]},
        ),
        _VOLCENGINE,
        replace(
            _VOLCENGINE,
            name="byteplus",
            options={**_VOLCENGINE.options, "access_key_id": "AKLTEXAMPLEEXAMPLE02"},
            key={**_VOLCENGINE.key, "id": "AKLTEXAMPLEEXAMPLE02"},
        ),
        _VONAGE,
        replace(
            _VONAGE,
            variant="signed",
            options={"api_key": "abcd1234", "signature_secret": KEY, "signature_method": "sha512"},
            secrets=(KEY,),
            signed_by="sig",
            signs=frozenset({"id", "occurred"}),
        ),
        _8X8,
        _INFOBIP,
        _PLIVO,
        _SINCH,
    )
}
