"""Volcengine SMS: `Conversion`, version 2020-01-01.

Sources: volcengine.com/docs/6361/171581, volcengine.com/docs/6440/71573 (common errors),
github.com/volcengine/volc-sdk-python. It would take up to 100 ids a call: docs/decisions.md says why it gets one.
"""

from hashlib import sha256
from typing import ClassVar

from pydantic import BaseModel
from pydantic_core import to_json

from otpreport import Verification
from providers import base
from providers.base import Answer, Outcome, Result, SignedRequest, Unverified, opened
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, json_object, judge, member, recorded, text
from providers.sigv4 import CREDENTIALS, KeyOptions, Scheme, SigV4, signing_date

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        # Of the gateway; in the reader every ...FlowLimitExceeded becomes the first.
        "FlowLimitExceeded": Result.THROTTLED,
        "AccountFlowLimitExceeded": Result.THROTTLED,
        "ServiceUnavailable*": Result.TRANSIENT,
        "InternalError": Result.UNKNOWN,
        "InternalServiceTimeout": Result.UNKNOWN,
        "InvalidTimestamp": Result.CLOCK,
        "InvalidAccessKey": Result.ACCOUNT,
        "InvalidClientTokenId": Result.ACCOUNT,
        "SignatureDoesNotMatch": Result.ACCOUNT,
        "MissingAuthenticationToken": Result.ACCOUNT,
        "MissingSignature": Result.ACCOUNT,
        "LackPolicy": Result.ACCOUNT,
        "AccessDenied": Result.ACCOUNT,
        # A request of ours that is wrong for every event.
        "MissingParameter": Result.ACCOUNT,
        "MissingRequestInfo": Result.ACCOUNT,
        "ServiceNotFound": Result.ACCOUNT,
        "InvalidActionOrVersion": Result.ACCOUNT,
        # Of the product: authentication, SMS not opened, address not in the list, parameters, "call again".
        "RE:0000": Result.ACCOUNT,
        "RE:0001": Result.ACCOUNT,
        "RE:0007": Result.ACCOUNT,
        "RE:0009": Result.PERMANENT,
        "RE:0500": Result.UNKNOWN,
    }
)
PROBE_CODES = CodeTable(CODES.rows | {"MissingParameter": Result.PERMANENT})
"""A probe leaves its parameter out, so the complaint about that is one about the report."""

SCHEME = Scheme("HMAC-SHA256", "", "request")
_CONTENT_TYPE = ("content-type", "application/json")
_QUERY = "Action=Conversion&Version=2020-01-01"
_NO_SUCH_SERVICE = 100007


class Volcengine(base.Provider):
    """Report verified codes to Volcengine; it has no way to report the others."""

    name: ClassVar[str] = "volcengine"
    endpoint: ClassVar[str] = "https://sms.volcengineapi.com"
    region: ClassVar[str] = "cn-north-1"
    rate_limit: ClassVar[int] = 50
    documents_rate: ClassVar[bool] = False
    unverified: ClassVar[Unverified] = "unsayable"
    Options: ClassVar[type[BaseModel]] = KeyOptions
    credentials: ClassVar[frozenset[str]] = CREDENTIALS
    key_faults: ClassVar[tuple[str, ...]] = (
        "invalidaccesskey",
        "invalidclienttokenid",
        "signaturedoesnotmatch",
        "missingauthenticationtoken",
        "missingsignature",
        "re:0000",
    )

    def __init__(self, endpoint: str, options: KeyOptions) -> None:
        where = Endpoint.parse(endpoint)
        key, token = opened(options.secret_access_key), opened(options.session_token)
        self._url, self._key_id = f"{where.url}?{_QUERY}", options.access_key_id
        self._signer = SigV4(options.access_key_id, key, self.region, "volcSMS", SCHEME)
        self._mask = Mask(key, token, key_id=options.access_key_id)
        self._host = ("host", where.host)
        self._token = (("x-security-token", token),) if token else ()

    @property
    def key_id(self) -> str:
        """Name the access key."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build a signed report of one message, which has no time."""
        if not event.verified:
            raise ValueError(f"{self.name} can't report verified=false: the event has to be skipped")
        return self._request(to_json({"MessageIDs": [event.message_id]}), now)

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Return what an answer means, which is the same for every event."""
        return judge(answer, _read(answer), CODES, self._mask)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a signed report without the required ids."""
        return self._request(b"{}", now)

    def probed(self, answer: Answer) -> Outcome:
        """Return what the answer to a probe means."""
        return judge(answer, _read(answer), PROBE_CODES, self._mask)

    def _request(self, body: bytes, now: float) -> SignedRequest:
        date, payload = signing_date(int(now)), sha256(body).hexdigest()
        varying = (("x-content-sha256", payload), ("x-date", date), *self._token)
        signed = (_CONTENT_TYPE, self._host, *varying)
        authorization = self._signer.authorization(date, signed, payload, query=_QUERY)
        return SignedRequest(self._url, (_CONTENT_TYPE, *varying, ("authorization", authorization)), body)


def _read(answer: Answer) -> Reply | None:
    """Find the error, at whatever level, else the documented form of success: no error, and an empty result."""
    whole = json_object(answer.body)
    metadata = member(whole, "ResponseMetadata")
    if whole is None or metadata is None:
        return None
    request_id = text(metadata, "RequestId")
    if metadata.get("Error") is None:
        taken = text(metadata, "Action") == "Conversion" and whole.get("Result") == ""
        return recorded(answer, request_id) if taken else None
    error = member(metadata, "Error") or {}
    code = text(error, "Code")
    if code.endswith("FlowLimitExceeded") and CODES.result(code) is None:
        code = "FlowLimitExceeded"
    if code == "ServiceUnavailable" and error.get("CodeN") == _NO_SUCH_SERVICE:
        code = "ServiceNotFound"  # as it was called of old
    return Reply(code, text(error, "Message"), request_id, final=False) if code else None
