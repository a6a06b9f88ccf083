"""Alibaba's codes, levels and requests, on both sites."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from providers import Answer, Result
from providers.alibaba import CODES
from providers.masking import Mask
from providers.reply import Reply, judge
from tests.support.provider_samples import NONCE, NOW, SAMPLES, TOKEN, Sample, event, vector

EVENT = event()
BOTH = pytest.mark.parametrize("name", ["alibaba", "alibaba_cn"])

GATEWAY = {
    Result.THROTTLED: "Throttling Throttling.User Throttling.Api Throttling.User.Flow Throttling.Other",
    Result.UNKNOWN: "InternalError SignatureNonceUsed",
    Result.TRANSIENT: "ServiceUnavailable",
    Result.CLOCK: "InvalidTimeStamp.Expired",
    Result.ACCOUNT: """
        InvalidTimeStamp.Format SignatureDoesNotMatch IncompleteSignature InvalidAccessKeyId.NotFound
        InvalidAccessKeyId.Inactive InvalidAccessKeyId InvalidSecurityToken.Expired
        InvalidSecurityToken.Malformed InvalidSecurityToken MissingSecurityToken Forbidden.RAM NoPermission
        Forbidden Forbidden.Other InvalidApi.NotFound InvalidProduct.NotFound UnsupportedHTTPMethod
        MissingAction MissingVersion MissingTimestamp MissingAuthorization MissingContentSha256 MissingAccessKeyId
        MissingSignature MissingSignatureMethod MissingSignatureNonce MissingSignatureVersion
    """,
    Result.PERMANENT: """
        MissingMessageId MissingDelivered MissingParameter InvalidParameter InvalidParameter.MessageId
        InvalidParameterValue
    """,
}
BUSINESS = {
    Result.UNKNOWN: "SYSTEM_ERROR GATEWAY_ERROR",
    Result.DOUBTFUL: "DATA_NOT_EXIST",
    Result.THROTTLED: "QPS_LIMIT_CONTROL BUSINESS_LIMIT_CONTROL",
    Result.PERMANENT: """
        INVALID_PARAMETERS INVALID_JSON_PARAM MOBILE_NUMBER_ILLEGAL NOT_SUPPORTED_COUNTRY QUERY_DATE_ILLEGAL
        INVALID_SENDERID SMS_CONTENT_CODE_ILLEGAL SMS_SIGN_NAME_ILLEGAL SMS_SECURITY_INTERCEPTED
    """,
    Result.ACCOUNT: """
        RAM_PERMISSION_DENY FORBIDDEN_ACTION ACCOUNT_NOT_EXISTS ACCOUNT_ILLEGAL ACCOUNT_ABNORMAL
        PRODUCT_NOT_SUBSCRIBED PRODUCT_UN_SUBSCRIPT PRODUCT_UNSUBSCRIBE OUT_OF_SERVICE AMOUNT_NOT_ENOUGH
        ONLINE_BILLING_FAILED DENY_IP_RANGE
    """,
}


def rows(table: dict[Result, str]) -> list[tuple[str, Result]]:
    """List code and class."""
    return [(code, result) for result, codes in table.items() for code in codes.split()]


@BOTH
@pytest.mark.parametrize("spelling", ["{}", "isv.{}", "isp.{}", "ISV.{}"])
@pytest.mark.parametrize(("code", "result"), rows(GATEWAY))
def test_each_code_of_the_gateway_has_its_class(name: str, spelling: str, code: str, result: Result) -> None:
    """A gateway's code decides, whatever the status, the case of its letters and an old prefix."""
    sample = SAMPLES[name]
    for status in (400, 403, 404, 500, 503):
        for spelt in (code, code.lower(), code.upper()):
            outcome = sample.provider().outcome(sample.gateway(spelling.format(spelt), status=status), EVENT)
            assert (outcome.result, outcome.code) == (result, spelt)


@BOTH
@pytest.mark.parametrize("spelling", ["{}", "isv.{}", "isp.{}"])
@pytest.mark.parametrize(("code", "result"), rows(BUSINESS))
def test_each_code_of_the_report_has_its_class(name: str, spelling: str, code: str, result: Result) -> None:
    """The report's code decides, behind HTTP 200."""
    sample = SAMPLES[name]
    for spelt in (code, code.lower()):
        outcome = sample.provider().outcome(sample.final(spelling.format(spelt), "why"), EVENT)
        assert (outcome.result, outcome.message) == (result, "why")


def test_each_row_is_expected() -> None:
    """The table holds no row that this file does not know."""
    known = {"OK"} | {code for code, _ in rows(GATEWAY) + rows(BUSINESS)}
    assert {row for row in CODES.rows if not row.endswith("*")} <= known
    families = {row[:-1] for row in CODES.rows if row.endswith("*")}
    assert all(any(code.startswith(family) for code in known) for family in families)


def test_a_reply_of_the_other_site_is_no_delivery() -> None:
    """Each version has its own field for success: the other's proves nothing."""
    for name, other in (("alibaba", "alibaba_cn"), ("alibaba_cn", "alibaba")):
        outcome = SAMPLES[name].provider().outcome(SAMPLES[other].final("OK"), EVENT)
        assert outcome.result is Result.UNKNOWN


def test_a_gateway_error_beside_a_success_wins() -> None:
    """In the 2018 version `Code` is the gateway's alone."""
    body = json.dumps({"Code": "Throttling.User", "ResponseCode": "OK", "RequestId": "r"}).encode()
    assert SAMPLES["alibaba"].provider().outcome(Answer(200, {}, body), EVENT).result is Result.THROTTLED
    body = json.dumps({"Code": None, "ResponseCode": "OK", "RequestId": "r"}).encode()
    assert SAMPLES["alibaba"].provider().outcome(Answer(200, {}, body), EVENT).result is Result.DELIVERED


@BOTH
def test_a_quoted_canonical_request_shows_no_token(name: str) -> None:
    """The message of SignatureDoesNotMatch holds what was signed, the token among it."""
    sample = SAMPLES[name]
    canonical = f"POST\n/\nDelivered=true\nx-acs-security-token:{TOKEN}\n\nhost"
    message = f"Specified signature does not match our calculation. server string is [{canonical}]"
    outcome = sample.provider().outcome(sample.gateway("SignatureDoesNotMatch", message), EVENT)
    assert outcome.result is Result.ACCOUNT
    assert "x-acs-security-token:***" in outcome.message
    unmasked = judge(
        Answer(400, {}, b""), Reply("SignatureDoesNotMatch", message, "r", final=False), CODES, Mask()
    )
    assert TOKEN in unmasked.message, "the control: without the mask it shows"


@BOTH
def test_request_is_what_the_page_asks_for(name: str) -> None:
    """Everything stands in the query, the body is empty, the signature covers all x-acs headers and host."""
    provider = SAMPLES[name].provider()
    request = provider.request(event(message_id="9006^0", verified=False), now=NOW, nonce=NONCE)
    parts = urlsplit(request.url)
    assert parts.query == "ConversionTime=1699999990123&Delivered=false&MessageId=9006%5E0"
    assert request.body == b""
    names = dict(request.headers)
    authorization = names.pop("authorization")
    action, version = {
        "alibaba": ("SmsConversion", "2018-05-01"),
        "alibaba_cn": ("SmsConversionIntl", "2017-05-25"),
    }[name]
    assert names == {
        "accept": "application/json",
        "x-acs-action": action,
        "x-acs-version": version,
        "x-acs-date": "2023-11-14T22:13:20Z",
        "x-acs-signature-nonce": NONCE,
        "x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "x-acs-security-token": TOKEN,
    }
    signed = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert signed == sorted(signed)
    assert set(signed) == {"host", *names} - {"accept"}


@pytest.mark.parametrize("start", ["M1", "M2"])
def test_the_whole_request_is_the_vector(start: str) -> None:
    """The provider itself signs the minimal vectors with the published result."""
    published = vector("alibaba_acs3", start)
    query = published["query"]
    time = int(query.get("ConversionTime", NOW * 1000))
    reported = event(
        message_id=query["MessageId"],
        verified=query["Delivered"] == "true",
        occurred_at=time,
        **({} if "ConversionTime" in query else {"sent_at": time}),
    )
    provider = permanent(SAMPLES["alibaba"], published["ak"], published["sk"])
    names = dict(provider.request(reported, now=NOW, nonce=NONCE).headers)
    assert names["authorization"].partition("Signature=")[2] == published["expected_signature"]


def permanent(sample: Sample, key_id: str, key: str) -> Any:
    """Build a provider with permanent credentials."""
    provider = sample.provider()
    options = provider.Options.model_validate({"access_key_id": key_id, "access_key_secret": key})
    return type(provider)(provider.endpoint, options)
