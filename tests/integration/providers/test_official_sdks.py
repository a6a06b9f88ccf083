"""Our requests beside those of the official SDKs, as they arrive over a real connection."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from pydantic_core import to_json

from otpreport import Verification
from providers import REGISTRY, SignedRequest, volcengine, vonage
from providers.acs3 import ACS3, canonical_query
from providers.hmac_key import HmacKey
from providers.sigv4 import SigV4
from providers.tc3 import TC3

KEY_ID, KEY, TOKEN = "AKIDEXAMPLE0001", "EXAMPLEsecretKEYexampleSECRETkey1", "EXAMPLEststoken+/=="
MESSAGE_ID = "900619746936498440^0"
OCCURRED_MS = 1_658_310_430_000
EVENT = Verification.from_wire({"account": "main", "message_id": MESSAGE_ID, "occurred_at": OCCURRED_MS})
TEMPORARY = pytest.mark.parametrize("token", [None, TOKEN], ids=["permanent", "temporary"])


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it came in; header names are lower-case."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str


@dataclass(slots=True)
class Capture:
    """A server that takes everything and answers as the providers would."""

    port: int = 0
    arrivals: list[Arrival] = field(default_factory=list[Arrival])

    def only(self) -> Arrival:
        """Return the one request that came."""
        (arrival,) = self.arrivals
        return arrival


@pytest.fixture
def capture() -> Iterator[Capture]:
    """Serve on a free port and keep what arrives."""
    seen = Capture()
    success = json.dumps(
        {
            "Response": {"ReportConversionStatus": {"Code": "ok", "Message": ""}, "RequestId": "r"},
            "ResponseCode": "OK",
            "ResponseDescription": "OK",
            "RequestId": "r",
        }
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            names = {name.lower(): value for name, value in self.headers.items()}
            seen.arrivals.append(Arrival(self.path, names, body, self.command))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(success)))
            self.end_headers()
            self.wfile.write(success)

        do_PUT = do_POST  # noqa: N815 - http.server looks it up

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        seen.port = server.server_port
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield seen
        server.shutdown()
        thread.join()


def sdk(module: str) -> Any:
    """Import a part of an SDK; they carry no types."""
    return pytest.importorskip(module)


def send_tencent(port: int, token: str | None) -> None:
    """Let Tencent's SDK report the event."""
    credentials = sdk("tencentcloud.common.credential").Credential(KEY_ID, KEY, token)
    http = sdk("tencentcloud.common.profile.http_profile").HttpProfile(
        protocol="http", endpoint=f"127.0.0.1:{port}"
    )
    profile = sdk("tencentcloud.common.profile.client_profile").ClientProfile(
        httpProfile=http, language="en-US"
    )
    sms = sdk("tencentcloud.sms.v20210111.sms_client")
    request = sdk("tencentcloud.sms.v20210111.models").ReportConversionRequest()
    request.SmsSdkAppId = "1400000001"
    request.SerialNo = MESSAGE_ID
    request.ConversionTime = OCCURRED_MS // 1000
    answer = sms.SmsClient(credentials, "ap-singapore", profile).ReportConversion(request)
    assert answer.ReportConversionStatus.Code == "ok"


def send_alibaba(name: str, port: int, token: str | None) -> None:
    """Let Alibaba's SDK report the event."""
    package = {"alibaba": "alibabacloud_dysmsapi20180501", "alibaba_cn": "alibabacloud_dysmsapi20170525"}[
        name
    ]
    kind = {"alibaba": "SmsConversion", "alibaba_cn": "SmsConversionIntl"}[name]
    call = {"alibaba": "sms_conversion", "alibaba_cn": "sms_conversion_intl"}[name]
    config = sdk("alibabacloud_tea_openapi.models").Config(
        access_key_id=KEY_ID,
        access_key_secret=KEY,
        security_token=token,
        endpoint=f"127.0.0.1:{port}",
        protocol="http",
    )
    request = getattr(sdk(f"{package}.models"), f"{kind}Request")(
        message_id=MESSAGE_ID, delivered=True, conversion_time=OCCURRED_MS
    )
    getattr(sdk(f"{package}.client").Client(config), call)(request)


def ours(name: str, port: int, token: str | None, now: float, nonce: str = "") -> SignedRequest:
    """Build our request for the same event."""
    kind = REGISTRY[name]
    fields: dict[str, object] = (
        {"secret_id": KEY_ID, "secret_key": KEY, "sdk_app_id": "1400000001"}
        if name == "tencent"
        else {"access_key_id": KEY_ID, "access_key_secret": KEY}
    )
    provider = kind(
        f"http://127.0.0.1:{port}", kind.Options.model_validate({**fields, "security_token": token})
    )
    return provider.request(EVENT, now=now, nonce=nonce)


@TEMPORARY
def test_tencent_sdk(capture: Capture, token: str | None) -> None:
    """For the same second our signature of the SDK's bytes is the SDK's, and our request says the same."""
    send_tencent(capture.port, token)
    arrival = capture.only()
    timestamp = int(arrival.headers["x-tc-timestamp"])
    signed = [(name, arrival.headers[name]) for name in ("content-type", "host")]
    signer = TC3(KEY_ID, KEY, "sms")
    assert signer.authorization(timestamp, signed, arrival.body) == arrival.headers["authorization"]

    request = ours("tencent", capture.port, token, timestamp)
    assert json.loads(request.body) == json.loads(arrival.body)
    names = {name.lower(): value for name, value in request.headers}
    differs = {"authorization"}  # the SDK writes spaces into its JSON
    assert names.keys() <= arrival.headers.keys()
    assert {name for name in names if names[name] != arrival.headers[name]} == differs
    assert ("x-tc-token" in names) is (token is not None)
    respaced = signer.authorization(timestamp, signed, request.body)
    assert names["authorization"] == respaced


@TEMPORARY
@pytest.mark.parametrize("name", ["alibaba", "alibaba_cn"])
def test_alibaba_sdk(capture: Capture, name: str, token: str | None) -> None:
    """For the same second and nonce our signature of the SDK's headers is the SDK's, and we say the same."""
    send_alibaba(name, capture.port, token)
    arrival = capture.only()
    parts = urlsplit(arrival.path)
    query = dict(parse_qsl(parts.query, strict_parsing=True))
    authorization = arrival.headers["authorization"]
    listed = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    signed = [(header, arrival.headers[header]) for header in listed]
    assert ACS3(KEY_ID, KEY).authorization(canonical_query(query), signed) == authorization

    nonce = arrival.headers["x-acs-signature-nonce"]
    request = ours(name, capture.port, token, _unix(arrival.headers["x-acs-date"]), nonce)
    wanted = dict(parse_qsl(urlsplit(request.url).query, strict_parsing=True))
    assert wanted == query | {"Delivered": query["Delivered"].lower()}  # the SDK writes True
    names = dict(request.headers)
    assert names.keys() <= arrival.headers.keys()
    assert {header for header in names if names[header] != arrival.headers[header]} == {"authorization"}
    assert ("x-acs-security-token" in names) is (token is not None)


def _unix(date: str) -> float:
    return datetime.fromisoformat(date).timestamp()


@TEMPORARY
@pytest.mark.parametrize("verified", [True, False], ids=["received", "failed"])
def test_botocore(capture: Capture, token: str | None, *, verified: bool) -> None:
    """For the same second our signature of botocore's bytes is botocore's, and our request says the same."""
    here = f"http://127.0.0.1:{capture.port}"
    client = (
        sdk("botocore.session")
        .Session()
        .create_client(
            "pinpoint-sms-voice-v2",
            region_name="eu-west-1",
            endpoint_url=here,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=KEY,
            aws_session_token=token,
        )
    )
    said = "RECEIVED" if verified else "FAILED"
    client.put_message_feedback(MessageId=MESSAGE_ID, MessageFeedbackStatus=said)
    arrival = capture.only()
    options: dict[str, object] = {"access_key_id": KEY_ID, "secret_access_key": KEY, "region": "eu-west-1"}
    kind = REGISTRY["aws"]
    provider = kind(here, kind.Options.model_validate({**options, "session_token": token}))
    date = arrival.headers["x-amz-date"]
    event = Verification.from_wire({**EVENT.to_wire(), "verified": verified})
    request = provider.request(event, now=_unix(date), nonce="")
    assert_signed_alike(arrival, request, date, SigV4(KEY_ID, KEY, "eu-west-1", "sms-voice"))
    assert ("x-amz-security-token" in dict(request.headers)) is (token is not None)


def assert_signed_alike(
    arrival: Arrival, request: SignedRequest, date: str, signer: SigV4, *, query: str = ""
) -> None:
    """Compare an SDK's request with ours: they differ in the spaces of JSON, and so in what is signed of the body."""
    authorization = arrival.headers["authorization"]
    listed = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    signed = tuple((header, arrival.headers[header]) for header in listed)
    payload = sha256(arrival.body).hexdigest()
    assert signer.authorization(date, signed, payload, query=query) == authorization

    assert (request.method, request.target()[1]) == (arrival.method, arrival.path)
    assert json.loads(request.body) == json.loads(arrival.body)
    names = {name.lower(): value for name, value in request.headers}
    assert names["authorization"].partition("Signature=")[0] == authorization.partition("Signature=")[0]
    differs = {name for name in names if names[name] != arrival.headers[name]}
    assert differs - {"x-content-sha256"} == {"authorization"}


@TEMPORARY
def test_volcengine_sdk(capture: Capture, token: str | None) -> None:
    """For the same second our signature of the SDK's bytes is the SDK's, and our request says the same."""
    service = sdk("volcengine.sms.SmsService").SmsService()
    service.service_info = sdk("volcengine.ServiceInfo").ServiceInfo(
        f"127.0.0.1:{capture.port}",
        {"Accept": "application/json"},
        sdk("volcengine.Credentials").Credentials(KEY_ID, KEY, "volcSMS", "cn-north-1", token or ""),
        5,
        5,
        "http",
    )
    service.conversion({"MessageIDs": [MESSAGE_ID]})
    assert_volcengine_alike("volcengine", capture.arrivals[0], token)


def test_byteplus_sdk(capture: Capture) -> None:
    """What the SDK signs is our request; what it sends is that text encoded once more, which no signature is of."""
    service = sdk("byteplus_sdk.sms.SmsService").SmsService("ap-singapore-1")
    service.service_info.host, service.service_info.scheme = f"127.0.0.1:{capture.port}", "http"
    service.set_ak(KEY_ID)
    service.set_sk(KEY)
    text = json.dumps({"MessageIDs": [MESSAGE_ID]})
    service.conversion(text)
    arrival = capture.arrivals[0]
    assert arrival.body == json.dumps(text).encode()
    assert arrival.headers["x-content-sha256"] == sha256(text.encode()).hexdigest()
    assert_volcengine_alike("byteplus", replace(arrival, body=text.encode()), None)


def assert_volcengine_alike(name: str, arrival: Arrival, token: str | None) -> None:
    """Compare an SDK's request with ours for the same second."""
    kind = REGISTRY[name]
    options = {"access_key_id": KEY_ID, "secret_access_key": KEY, "session_token": token}
    provider = kind(f"http://{arrival.headers['host']}", kind.Options.model_validate(options))
    date = arrival.headers["x-date"]
    request = provider.request(EVENT, now=_unix(date), nonce="")
    region = arrival.headers["authorization"].split("/")[2]
    signer = SigV4(KEY_ID, KEY, region, "volcSMS", volcengine.SCHEME)
    query = urlsplit(arrival.path).query
    assert_signed_alike(arrival, request, date, signer, query=query)
    assert ("x-security-token" in dict(request.headers)) is (token is not None)


TWILIO_SID, MESSAGE_SID = "AC00000000000000000000000000000001", "SM11111111111111111111111111111111"
TWILIO_KEY = "SK22222222222222222222222222222222"
TWILIO_USERS = pytest.mark.parametrize("user", [TWILIO_SID, TWILIO_KEY], ids=["token", "key"])


def agree(
    name: str,
    options: dict[str, str],
    message_id: str,
    arrival: Arrival,
    body: bytes,
    *,
    now: float = OCCURRED_MS / 1000 + 60,
    nonce: str = "",
) -> None:
    """Compare what arrived from an SDK with our request for the same event, but for a body that is given."""
    kind = REGISTRY[name]
    event = Verification.from_wire(
        {"account": "main", "message_id": message_id, "occurred_at": OCCURRED_MS, "verified": True}
    )
    provider = kind("http://127.0.0.1", kind.Options.model_validate(options))
    request = provider.request(event, now=now, nonce=nonce)
    assert (request.method, request.target()[1]) == (arrival.method, arrival.path)
    assert request.body == body
    assert {name: arrival.headers[name] for name, _ in request.headers} == dict(request.headers)


def twilio_client(capture: Capture, user: str) -> Any:
    """Make Twilio's client, which sends to the capture in place of Twilio."""
    http = sdk("twilio.http.http_client").TwilioHttpClient()
    send = http.request

    def send_here(method: str, uri: str, *args: Any, **more: Any) -> Any:
        """Send to the capture."""
        return send(method, f"http://127.0.0.1:{capture.port}{urlsplit(uri).path}", *args, **more)

    http.request = send_here
    return sdk("twilio.rest").Client(user, KEY, TWILIO_SID, http_client=http)


def twilio_keys(user: str) -> dict[str, str]:
    """Return our options for a user of Twilio's."""
    key = {"auth_token": KEY} if user == TWILIO_SID else {"api_key_sid": user, "api_key_secret": KEY}
    return {"account_sid": TWILIO_SID, **key}


@TWILIO_USERS
def test_twilio_sdk(capture: Capture, user: str) -> None:
    """The official SDK's request is ours, with the account's token and with an API key."""
    twilio_client(capture, user).messages(MESSAGE_SID).feedback.create(outcome="confirmed")
    arrival = capture.only()
    assert arrival.body == b"Outcome=confirmed"
    agree("twilio", twilio_keys(user), MESSAGE_SID, arrival, arrival.body)


@TWILIO_USERS
def test_twilio_verify_sdk(capture: Capture, user: str) -> None:
    """The same of a verification."""
    service, verification = f"VA{'3' * 32}", f"VE{'2' * 32}"
    twilio_client(capture, user).verify.v2.services(service).verifications(verification).update("approved")
    arrival = capture.only()
    assert arrival.body == b"Status=approved"
    options = twilio_keys(user) | {"service_sid": service}
    agree("twilio_verify", options, verification, arrival, arrival.body)


def test_messagebird_sdk(capture: Capture) -> None:
    """The official SDK has no call for it, but one for any path: its request is ours, but for spaces and a charset."""
    http = sdk("messagebird.http_client").HttpClient(
        f"http://127.0.0.1:{capture.port}", "live_EXAMPLE01", "x"
    )
    fields = {"service": "sms", "id": MESSAGE_SID, "success": True}
    sdk("messagebird").Client("live_EXAMPLE01", http).request("conversions", "POST", fields)
    arrival = capture.only()
    arrival.headers["content-type"] = arrival.headers["content-type"].removesuffix("; charset=UTF-8")
    body = to_json(json.loads(arrival.body))
    agree("messagebird", {"access_key": "live_EXAMPLE01"}, MESSAGE_SID, arrival, body)


@pytest.mark.parametrize("method", ["HMAC-SHA256", "Basic"])
def test_telesign_sdk(capture: Capture, method: str) -> None:
    """The official SDK's request is ours, for the same second and nonce: signed, and with the key itself."""
    customer, key, reference = (
        "FFFFFFFF-EEEE-DDDD-1234-AB1234567890",
        "RVhBTVBMRWtleUVYQU1QTEVrZXk5",
        "0A" * 16,
    )
    client = sdk("telesignenterprise.verify").VerifyClient(
        customer, key, rest_endpoint=f"http://127.0.0.1:{capture.port}", auth_method=method
    )
    client.completion(reference)
    arrival = capture.only()
    names = arrival.headers
    second = parsedate_to_datetime(names["date"]).timestamp()
    options = {"customer_id": customer, "api_key": key, "auth_method": method}
    agree("telesign", options, reference, arrival, b"", now=second, nonce=names["x-ts-nonce"])
    assert arrival.body == b""


@pytest.mark.parametrize("secret", ["api_secret", "signature_secret"])
def test_vonage_sdk(capture: Capture, secret: str) -> None:
    """The official SDK's request is ours, but that it writes True, which is not a documented value."""
    http = sdk("vonage_http_client")
    client = http.HttpClient(http.Auth(api_key="abcd1234", **{secret: KEY}))
    adapter, here = sdk("requests.adapters").HTTPAdapter(), f"http://127.0.0.1:{capture.port}"
    send = adapter.send

    def send_here(request: Any, **more: object) -> Any:
        """Send to the capture in place of Vonage."""
        request.url = request.url.replace("https://api.nexmo.com", here)
        return send(request, **more)

    adapter.send = send_here
    client._session.mount("https://", adapter)
    at = datetime.fromtimestamp(OCCURRED_MS / 1000, UTC)
    sdk("vonage_sms").Sms(client).submit_sms_conversion("0C000000217B7F02", True, at)
    arrival = capture.only()
    form = dict(parse_qsl(arrival.body.decode(), strict_parsing=True))
    form["delivered"] = form["delivered"].lower()
    if secret == "signature_secret":
        method = client.auth._signature_method.__name__.removeprefix("openssl_")
        options = {"api_key": "abcd1234", secret: KEY, "signature_method": method}
        key = HmacKey(KEY.encode(), method)
        form["sig"] = vonage.signature({k: v for k, v in form.items() if k != "sig"}, key)
        assert client.auth.sign_params({k: v for k, v in form.items() if k != "sig"}) == form["sig"]
        order = ["message-id", "delivered", "timestamp", "api_key", "sig"]
    else:
        options, order = {"api_key": "abcd1234", secret: KEY}, ["message-id", "delivered", "timestamp"]
    body = urlencode({name: form[name] for name in order}).encode()
    agree("vonage", options, "0C000000217B7F02", arrival, body)


@pytest.mark.parametrize("batch", ["01FC66621XXXXX119Z8PMV1QPQ", "a b/c"])
def test_sinch_sdk(capture: Capture, batch: str) -> None:
    """The official SDK's request is ours, but that it leaves the `/` of an id, and puts spaces into its JSON."""
    client = sdk("sinch").SinchClient(service_plan_id="plan0001", sms_api_token=KEY, sms_region="eu")
    client.configuration.sms_domain_with_service_plan_id = f"http://127.0.0.1:{capture.port}"
    client.sms.batches.send_delivery_feedback(batch, recipients=[])
    arrival = capture.only()
    body = json.dumps(json.loads(arrival.body), separators=(",", ":")).encode()
    start, _, rest = arrival.path.partition("/batches/")
    encoded = replace(arrival, path=f"{start}/batches/{rest.replace('/', '%2F', batch.count('/'))}")
    agree("sinch", {"service_plan_id": "plan0001", "api_token": KEY}, batch, encoded, body)
