"""Tencent Cloud SMS: `ReportConversion`, version 2021-01-11.

Source: tencentcloud.com/document/api/382/49706.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import BaseModel, Field
from pydantic_core import to_json

from otpreport import Verification
from providers import base
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
from providers.reply import Reply, json_object, judge, member, text
from providers.tc3 import TC3

CODES = CodeTable(
    {
        # Tencent's pages write it "ok" and "OK".
        "ok": Result.DELIVERED,
        "RequestLimitExceeded": Result.THROTTLED,
        "RequestLimitExceeded.UinLimitExceeded": Result.THROTTLED,
        "RequestLimitExceeded.GlobalRegionUinLimitExceeded": Result.THROTTLED,
        "RequestLimitExceeded.IPLimitExceeded": Result.THROTTLED,
        "RequestLimitExceeded.*": Result.THROTTLED,
        # An account's quota passes with time and concerns every event: wait, until MAX_AGE at most.
        "LimitExceeded": Result.THROTTLED,
        # These are quotas of sending to one number or with one template: one event's fault must not slow
        # the whole account down, so it gets its few attempts and then a dead letter.
        "LimitExceeded.*": Result.DOUBTFUL,
        "ServiceUnavailable": Result.TRANSIENT,
        "ResourceUnavailable": Result.TRANSIENT,
        "ResourceInsufficient": Result.TRANSIENT,
        "ResourceInUse": Result.TRANSIENT,
        "InternalError": Result.UNKNOWN,
        "InternalError.SendAndRecvFail": Result.UNKNOWN,
        "InternalError.Timeout": Result.UNKNOWN,
        "InternalError.OtherError": Result.UNKNOWN,
        "InternalError.UnknownError": Result.UNKNOWN,
        "InternalError.ParseBackendResponseFail": Result.UNKNOWN,
        "InternalError.*": Result.UNKNOWN,
        # All known ones concern sending or templates; Tencent says "try again" of some.
        "FailedOperation": Result.DOUBTFUL,
        "FailedOperation.*": Result.DOUBTFUL,
        "AuthFailure.SignatureExpire": Result.CLOCK,
        "InternalError.RequestTimeException": Result.CLOCK,
        "AuthFailure.SignatureFailure": Result.ACCOUNT,
        "AuthFailure.InvalidSecretId": Result.ACCOUNT,
        "AuthFailure.SecretIdNotFound": Result.ACCOUNT,
        "AuthFailure.InvalidAuthorization": Result.ACCOUNT,
        "AuthFailure.MFAFailure": Result.ACCOUNT,
        "AuthFailure.UnauthorizedOperation": Result.ACCOUNT,
        "AuthFailure.TokenFailure": Result.ACCOUNT,
        "AuthFailure": Result.ACCOUNT,
        "AuthFailure.*": Result.ACCOUNT,
        "UnauthorizedOperation": Result.ACCOUNT,
        "UnauthorizedOperation.SmsSdkAppIdVerifyFail": Result.ACCOUNT,
        "UnauthorizedOperation.RequestPermissionDeny": Result.ACCOUNT,
        "UnauthorizedOperation.RequestIpNotInWhitelist": Result.ACCOUNT,
        "UnauthorizedOperation.SdkAppIdIsDisabled": Result.ACCOUNT,
        "UnauthorizedOperation.ServiceSuspendDueToArrears": Result.ACCOUNT,
        "UnauthorizedOperation.*": Result.ACCOUNT,
        "IpInBlacklist": Result.ACCOUNT,
        "IpNotInWhitelist": Result.ACCOUNT,
        "InvalidParameterValue.SdkAppIdNotExist": Result.ACCOUNT,
        # A request of ours that is wrong for every event: a misconfigured client, or the API is withdrawn.
        "InvalidAction": Result.ACCOUNT,
        "NoSuchVersion": Result.ACCOUNT,
        "NoSuchProduct": Result.ACCOUNT,
        "ActionOffline": Result.ACCOUNT,
        "UnsupportedProtocol": Result.ACCOUNT,
        "UnsupportedRegion": Result.ACCOUNT,
        "UnsupportedOperation": Result.ACCOUNT,
        "UnsupportedOperation.UnsupportedRegion": Result.ACCOUNT,
        "InvalidRequest": Result.ACCOUNT,
        "DryRunOperation": Result.ACCOUNT,
        # Faults of the request despite the InternalError before the dot.
        "InternalError.SigVerificationFail": Result.ACCOUNT,
        "InternalError.SigFieldMissing": Result.ACCOUNT,
        "InternalError.RestApiInterfaceNotExist": Result.ACCOUNT,
        "InternalError.JsonParseFail": Result.PERMANENT,
        "InvalidParameter": Result.PERMANENT,
        "InvalidParameter.AppidAndBizId": Result.PERMANENT,
        "InvalidParameter.InvalidParameters": Result.PERMANENT,
        "InvalidParameterValue": Result.PERMANENT,
        "MissingParameter": Result.PERMANENT,
        "UnknownParameter": Result.PERMANENT,
        "RequestSizeLimitExceeded": Result.PERMANENT,
        "ResponseSizeLimitExceeded": Result.PERMANENT,
        "ResourceNotFound": Result.PERMANENT,
    }
)
"""No family here is permanent: a code that Tencent's page does not list proves nothing about the event."""

APP_ID_FAULTS = frozenset(
    {
        "unauthorizedoperation.smssdkappidverifyfail",
        "unauthorizedoperation.sdkappidisdisabled",
        "invalidparametervalue.sdkappidnotexist",
    }
)

KEY_FAULTS = (
    "authfailure.signaturefailure",
    "authfailure.invalidsecretid",
    "authfailure.secretidnotfound",
    "authfailure.invalidauthorization",
    "authfailure.tokenfailure",
    "internalerror.sigverificationfail",
    "internalerror.sigfieldmissing",
)

_CONTENT_TYPE = "application/json"


class TencentOptions(base.Options):
    """Credentials and settings of a Tencent Cloud SMS account."""

    secret_id: Visible = Field(description="Id of the API key (SecretId).")
    secret_key: Secret = Field(description="The API key itself (SecretKey).")
    sdk_app_id: Visible = Field(description="SmsSdkAppId of the SMS application, such as 1400006666.")
    region: Visible = Field(default="ap-singapore", description="API region, sent as X-TC-Region.")
    security_token: Secret | None = Field(
        default=None, description="Session token, for temporary credentials."
    )


class Tencent(base.Provider):
    """Report verified codes to Tencent Cloud; it has no way to report the others."""

    name: ClassVar[str] = "tencent"
    endpoint: ClassVar[str] = "https://sms.tencentcloudapi.com"
    rate_limit: ClassVar[int] = 1000
    unverified: ClassVar[Unverified] = "unsayable"
    has_nonce: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = TencentOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"secret_id", "secret_key", "security_token"})
    key_faults: ClassVar[tuple[str, ...]] = KEY_FAULTS

    def __init__(self, endpoint: str, options: TencentOptions) -> None:
        where = Endpoint.parse(endpoint)
        key, token = opened(options.secret_key), opened(options.security_token)
        self._url = where.url
        self._key_id = options.secret_id
        self._app_id = options.sdk_app_id
        self._signer = TC3(options.secret_id, key, "sms")
        self._mask = Mask(key, token, key_id=options.secret_id)
        self._signed = (("content-type", _CONTENT_TYPE), ("host", where.host))
        self._constant = (
            ("Content-Type", _CONTENT_TYPE),
            ("X-TC-Action", "ReportConversion"),
            ("X-TC-Version", "2021-01-11"),
            ("X-TC-Region", options.region),
            ("X-TC-Language", "en-US"),
            *((("X-TC-Token", token),) if token else ()),
        )

    @property
    def key_id(self) -> str:
        """Name the API key."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build a signed ReportConversion; TC3 has no nonce, its timestamp is in whole seconds."""
        if not event.verified:
            raise ValueError("tencent can't report verified=false: the event has to be skipped")
        return self._request(self._body(event, now), int(now))

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Say what an answer means; an app id that only this event carries is this event's fault."""
        outcome = judge(answer, _read(answer.body), CODES, self._mask)
        own = event.app_id is not None and event.app_id != self._app_id
        if own and outcome.code.lower() in APP_ID_FAULTS:
            return replace(outcome, result=Result.PERMANENT)
        return outcome

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a signed ReportConversion that leaves the required SerialNo out."""
        return self._request(to_json({"SmsSdkAppId": self._app_id}), int(now))

    def probed(self, answer: Answer) -> Outcome:
        """Say what the answer to a probe means."""
        return judge(answer, _read(answer.body), CODES, self._mask)

    def _request(self, body: bytes, timestamp: int) -> SignedRequest:
        authorization = self._signer.authorization(timestamp, self._signed, body)
        varying = (("X-TC-Timestamp", str(timestamp)), ("Authorization", authorization))
        return SignedRequest(self._url, self._constant + varying, body)

    def _body(self, event: Verification, now: float) -> bytes:
        fields: dict[str, str | int] = {
            "SmsSdkAppId": self._app_id if event.app_id is None else event.app_id,
            "SerialNo": event.message_id,
        }
        reported = reported_at_ms(event, now, unit_ms=1000)
        if reported is not None:
            fields["ConversionTime"] = reported // 1000
        return to_json(fields)


def _read(body: bytes) -> Reply | None:
    """Find the level that speaks: `Response.Error`, else `Response.ReportConversionStatus`."""
    response = member(json_object(body), "Response")
    if response is None:
        return None
    final = response.get("Error") is None
    status = member(response, "ReportConversionStatus" if final else "Error")
    if status is None or not (code := text(status, "Code")):
        return None
    return Reply(code, text(status, "Message"), text(response, "RequestId"), final)
