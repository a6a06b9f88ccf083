"""Alibaba Cloud SMS, international site: `SmsConversion`, version 2018-05-01.

Source: alibabacloud.com/help/en/sms/developer-reference/api-dysmsapi-2018-05-01-smsconversion.
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, Field

from otpreport import Verification
from providers import base
from providers.acs3 import ACS3, EMPTY_BODY, acs_date, canonical_query
from providers.base import (
    Answer,
    Outcome,
    Result,
    Secret,
    SignedRequest,
    Unverified,
    Visible,
    opened,
    reported_at_ms,
)
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, json_object, judge, text

CODES = CodeTable(
    {
        "OK": Result.DELIVERED,
        # Of the gateway (common errors, 48054)
        "Throttling": Result.THROTTLED,
        "Throttling.User": Result.THROTTLED,
        "Throttling.Api": Result.THROTTLED,
        "Throttling.User.Flow": Result.THROTTLED,
        "Throttling.*": Result.THROTTLED,
        "ServiceUnavailable": Result.TRANSIENT,
        "InternalError": Result.UNKNOWN,
        # Every attempt has a nonce of its own, so a used one may be the mark of a copy that arrived.
        "SignatureNonceUsed": Result.UNKNOWN,
        "InvalidTimeStamp.Expired": Result.CLOCK,
        "InvalidTimeStamp.Format": Result.ACCOUNT,
        "SignatureDoesNotMatch": Result.ACCOUNT,
        "IncompleteSignature": Result.ACCOUNT,
        "InvalidAccessKeyId.NotFound": Result.ACCOUNT,
        "InvalidAccessKeyId.Inactive": Result.ACCOUNT,
        "InvalidAccessKeyId*": Result.ACCOUNT,
        "InvalidSecurityToken*": Result.ACCOUNT,
        "MissingSecurityToken": Result.ACCOUNT,
        "Forbidden": Result.ACCOUNT,
        "Forbidden.RAM": Result.ACCOUNT,
        "Forbidden.*": Result.ACCOUNT,
        "NoPermission": Result.ACCOUNT,
        "InvalidApi.NotFound": Result.ACCOUNT,
        "InvalidProduct.NotFound": Result.ACCOUNT,
        "UnsupportedHTTPMethod": Result.ACCOUNT,
        # What every request carries, or none: a fault of the signing or of what lies on the way.
        "MissingAction": Result.ACCOUNT,
        "MissingVersion": Result.ACCOUNT,
        "MissingTimestamp": Result.ACCOUNT,
        "MissingAuthorization": Result.ACCOUNT,
        "MissingContentSha256": Result.ACCOUNT,
        "MissingAccessKeyId": Result.ACCOUNT,
        "MissingSignature*": Result.ACCOUNT,
        # Documented as families, "Missing<parameter>" and "InvalidParameter...", so these are listed codes.
        "MissingParameter": Result.PERMANENT,
        "Missing*": Result.PERMANENT,
        "InvalidParameter*": Result.PERMANENT,
        # Of the report itself (business codes, 180674 and 101346)
        "QPS_LIMIT_CONTROL": Result.THROTTLED,
        "BUSINESS_LIMIT_CONTROL": Result.THROTTLED,
        "SYSTEM_ERROR": Result.UNKNOWN,
        "GATEWAY_ERROR": Result.UNKNOWN,
        # The report may have overtaken the record of the sending, or the id is wrong.
        "DATA_NOT_EXIST": Result.DOUBTFUL,
        "RAM_PERMISSION_DENY": Result.ACCOUNT,
        "FORBIDDEN_ACTION": Result.ACCOUNT,
        "ACCOUNT_NOT_EXISTS": Result.ACCOUNT,
        "ACCOUNT_ILLEGAL": Result.ACCOUNT,
        "ACCOUNT_ABNORMAL": Result.ACCOUNT,
        "PRODUCT_NOT_SUBSCRIBED": Result.ACCOUNT,
        "PRODUCT_UN_SUBSCRIPT": Result.ACCOUNT,
        "PRODUCT_UNSUBSCRIBE": Result.ACCOUNT,
        "OUT_OF_SERVICE": Result.ACCOUNT,
        "AMOUNT_NOT_ENOUGH": Result.ACCOUNT,
        "ONLINE_BILLING_FAILED": Result.ACCOUNT,
        "DENY_IP_RANGE": Result.ACCOUNT,
        "INVALID_PARAMETERS": Result.PERMANENT,
        "INVALID_JSON_PARAM": Result.PERMANENT,
        "MOBILE_NUMBER_ILLEGAL": Result.PERMANENT,
        "NOT_SUPPORTED_COUNTRY": Result.PERMANENT,
        "QUERY_DATE_ILLEGAL": Result.PERMANENT,
        "INVALID_SENDERID": Result.PERMANENT,
        "SMS_CONTENT_CODE_ILLEGAL": Result.PERMANENT,
        "SMS_SIGN_NAME_ILLEGAL": Result.PERMANENT,
        "SMS_SECURITY_INTERCEPTED": Result.PERMANENT,
    }
)

KEY_FAULTS = (
    "signaturedoesnotmatch",
    "incompletesignature",
    "invalidaccesskeyid",
    "invalidsecuritytoken",
    "missingsecuritytoken",
)

_PREFIXES = frozenset({"isv.", "isp."})
"""Older pages write these before the same codes."""


class AlibabaOptions(base.Options):
    """Credentials of an Alibaba Cloud account."""

    access_key_id: Visible = Field(description="AccessKey ID.")
    access_key_secret: Secret = Field(description="AccessKey secret.")
    security_token: Secret | None = Field(
        default=None, description="Session token, for temporary credentials."
    )


class Alibaba(base.Provider):
    """Report verified and unverified codes to Alibaba Cloud."""

    name: ClassVar[str] = "alibaba"
    endpoint: ClassVar[str] = "https://dysmsapi.ap-southeast-1.aliyuncs.com"
    rate_limit: ClassVar[int] = 500
    unverified: ClassVar[Unverified] = "reported"
    has_nonce: ClassVar[bool] = True
    Options: ClassVar[type[BaseModel]] = AlibabaOptions
    credentials: ClassVar[frozenset[str]] = frozenset(
        {"access_key_id", "access_key_secret", "security_token"}
    )
    key_faults: ClassVar[tuple[str, ...]] = KEY_FAULTS
    action: ClassVar[str] = "SmsConversion"
    version: ClassVar[str] = "2018-05-01"

    def __init__(self, endpoint: str, options: AlibabaOptions) -> None:
        where = Endpoint.parse(endpoint)
        key, token = opened(options.access_key_secret), opened(options.security_token)
        self._url = where.url
        self._key_id = options.access_key_id
        self._signer = ACS3(options.access_key_id, key)
        self._mask = Mask(key, token, key_id=options.access_key_id)
        self._before_date = (
            ("host", where.host),
            ("x-acs-action", self.action),
            ("x-acs-content-sha256", EMPTY_BODY),
        )
        self._after_date = (("x-acs-security-token", token),) if token else ()

    @property
    def key_id(self) -> str:
        """Name the access key."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build a signed report: all parameters in the query, no body."""
        query = canonical_query(_parameters(event, now))
        return self._request(f"{self._url}?{query}", query, now, nonce)

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Say what an answer means, which is the same for every event."""
        return self.probed(answer)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a signed report without any parameter: `Delivered` is required by every version of the page."""
        return self._request(self._url, "", now, nonce)

    def probed(self, answer: Answer) -> Outcome:
        """Say what the answer to a probe means."""
        return judge(answer, self._read(answer.body), CODES, self._mask)

    def _request(self, url: str, query: str, now: float, nonce: str) -> SignedRequest:
        signed = (
            *self._before_date,
            ("x-acs-date", acs_date(int(now))),
            *self._after_date,
            ("x-acs-signature-nonce", nonce),
            ("x-acs-version", self.version),
        )
        # Without `accept` errors come as XML; the client sends `host` itself.
        unsigned = (
            ("accept", "application/json"),
            ("authorization", self._signer.authorization(query, signed)),
        )
        return SignedRequest(url, signed[1:] + unsigned, b"")

    def _read(self, body: bytes) -> Reply | None:
        """Find the level that speaks: the gateway in `Code`, else the report in `ResponseCode`."""
        whole = json_object(body)
        if whole is None:
            return None
        if whole.get("Code") is not None:
            return reply(whole, "Code", "Message", final=False)
        return reply(whole, "ResponseCode", "ResponseDescription", final=True)


def reply(whole: Mapping[str, object], code: str, message: str, *, final: bool) -> Reply | None:
    """Read a reply from the two fields that hold it; None without a code."""
    raw = text(whole, code)
    bare = raw[4:] if raw[:4].lower() in _PREFIXES else raw
    return Reply(bare, text(whole, message), text(whole, "RequestId"), final) if bare else None


def _parameters(event: Verification, now: float) -> dict[str, str]:
    # The official SDK writes True and False; the documentation says true and false.
    parameters = {"Delivered": "true" if event.verified else "false", "MessageId": event.message_id}
    reported = reported_at_ms(event, now)
    if reported is not None:
        parameters["ConversionTime"] = str(reported)
    return parameters
