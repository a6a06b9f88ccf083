"""Tencent's codes, levels and requests."""

import json
import re

import pytest

from providers import Answer, Result
from providers.tencent import APP_ID_FAULTS, CODES
from tests.support.provider_samples import NONCE, NOW, SAMPLES, event, vector

SAMPLE = SAMPLES["tencent"]
EVENT = event()

EXPECTED = {
    Result.THROTTLED: """
        RequestLimitExceeded RequestLimitExceeded.UinLimitExceeded
        RequestLimitExceeded.GlobalRegionUinLimitExceeded RequestLimitExceeded.IPLimitExceeded LimitExceeded
    """,
    Result.TRANSIENT: "ServiceUnavailable ResourceUnavailable ResourceInsufficient ResourceInUse",
    Result.UNKNOWN: """
        InternalError InternalError.SendAndRecvFail InternalError.Timeout InternalError.OtherError
        InternalError.UnknownError InternalError.ParseBackendResponseFail
    """,
    Result.DOUBTFUL: """
        FailedOperation FailedOperation.TemplateNumberLimit FailedOperation.FailResolvePacket
        LimitExceeded.PhoneNumberDailyLimit LimitExceeded.AppCountryOrRegionDailyLimit
    """,
    Result.CLOCK: "AuthFailure.SignatureExpire InternalError.RequestTimeException",
    Result.ACCOUNT: """
        AuthFailure.SignatureFailure AuthFailure.InvalidSecretId AuthFailure.SecretIdNotFound
        AuthFailure.InvalidAuthorization AuthFailure.MFAFailure AuthFailure.UnauthorizedOperation
        AuthFailure.TokenFailure UnauthorizedOperation UnauthorizedOperation.RequestPermissionDeny
        UnauthorizedOperation.RequestIpNotInWhitelist UnauthorizedOperation.SdkAppIdIsDisabled
        UnauthorizedOperation.ServiceSuspendDueToArrears UnauthorizedOperation.SmsSdkAppIdVerifyFail
        IpInBlacklist IpNotInWhitelist InvalidParameterValue.SdkAppIdNotExist InvalidAction NoSuchVersion
        NoSuchProduct ActionOffline UnsupportedProtocol UnsupportedRegion UnsupportedOperation
        UnsupportedOperation.UnsupportedRegion InvalidRequest DryRunOperation
        InternalError.SigVerificationFail InternalError.SigFieldMissing InternalError.RestApiInterfaceNotExist
    """,
    Result.PERMANENT: """
        InternalError.JsonParseFail InvalidParameter InvalidParameter.AppidAndBizId
        InvalidParameter.InvalidParameters InvalidParameterValue MissingParameter UnknownParameter
        RequestSizeLimitExceeded ResponseSizeLimitExceeded ResourceNotFound
    """,
}
ROWS = [(code, result) for result, codes in EXPECTED.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "result"), ROWS)
def test_each_documented_code_has_its_class(code: str, result: Result) -> None:
    """A documented code means the same from the gateway and from the report behind it."""
    for answer in (SAMPLE.gateway(code, status=200), SAMPLE.final(code), SAMPLE.gateway(code, status=500)):
        outcome = SAMPLE.provider().outcome(answer, EVENT)
        assert (outcome.result, outcome.code) == (result, code)


def test_each_row_is_expected() -> None:
    """The table holds no row that this file does not know, families and bare account code aside."""
    rows = {row for row in CODES.rows if not row.endswith("*")}
    assert rows - {code for code, _ in ROWS} == {"ok", "AuthFailure"}


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("RequestLimitExceeded.Other", Result.THROTTLED),
        ("InternalError.Other", Result.UNKNOWN),
        ("AuthFailure.Other", Result.ACCOUNT),
        ("UnauthorizedOperation.Other", Result.ACCOUNT),
        ("InvalidParameter.Other", Result.DOUBTFUL),
        ("InvalidParameterValue.Other", Result.DOUBTFUL),
        ("MissingParameter.Other", Result.DOUBTFUL),
        ("UnknownParameter.Other", Result.DOUBTFUL),
        ("RequestLimitExceededOther", Result.DOUBTFUL),
        ("okay", Result.DOUBTFUL),
    ],
)
def test_a_prefix_never_condemns(code: str, result: Result) -> None:
    """A code that is not listed is judged by its family, but no family is permanent."""
    assert SAMPLE.provider().outcome(SAMPLE.gateway(code), EVENT).result is result
    assert not [
        row for row, row_result in CODES.rows.items() if "*" in row and row_result is Result.PERMANENT
    ]


def test_three_levels_are_told_apart() -> None:
    """HTTP, gateway and report each have their say, the error first."""
    provider = SAMPLE.provider()
    whole: dict[str, object] = {"ReportConversionStatus": {"Code": "ok"}, "RequestId": "r"}
    cases: list[tuple[dict[str, object], Result]] = [
        ({}, Result.DELIVERED),
        ({"Error": None}, Result.DELIVERED),
        ({"Error": {"Code": "InvalidParameter"}}, Result.PERMANENT),
        ({"Error": {}}, Result.UNKNOWN),
        ({"Error": "InvalidParameter"}, Result.UNKNOWN),
        ({"Error": {"Code": "ok"}}, Result.UNKNOWN),
        ({"ReportConversionStatus": None}, Result.UNKNOWN),
    ]
    for extra, result in cases:
        body = json.dumps({"Response": {**whole, **extra}}).encode()
        assert provider.outcome(Answer(200, {}, body), EVENT).result is result, extra


def test_the_answers_of_both_sites_are_deliveries() -> None:
    """The international page writes `ok`, the Chinese one `OK`."""
    for code, message in (("ok", "report success"), ("OK", "success")):
        status = {"Code": code, "Message": message}
        body = json.dumps({"Response": {"ReportConversionStatus": status, "RequestId": "a1"}}).encode()
        outcome = SAMPLE.provider().outcome(Answer(200, {}, body), EVENT)
        assert (outcome.result, outcome.message, outcome.request_id) == (Result.DELIVERED, message, "a1")


@pytest.mark.parametrize("code", sorted(APP_ID_FAULTS))
def test_an_app_id_fault_is_whose_app_id_it_is(code: str) -> None:
    """It stops the account, unless only this event carries that app id."""
    provider, answer = SAMPLE.provider(), SAMPLE.gateway(code, status=200)
    assert code in {row.lower() for row in CODES.rows}
    assert provider.outcome(answer, EVENT).result is Result.ACCOUNT
    assert provider.outcome(answer, event(app_id="1400000001")).result is Result.ACCOUNT
    assert provider.outcome(answer, event(app_id="1400000002")).result is Result.PERMANENT


def test_other_account_faults_stop_the_account_whatever_the_app_id() -> None:
    """An event's own app id excuses no bad key."""
    outcome = SAMPLE.provider().outcome(SAMPLE.gateway("AuthFailure.SecretIdNotFound"), event(app_id="1"))
    assert outcome.result is Result.ACCOUNT


def test_request_is_what_the_page_asks_for() -> None:
    """Header by header and byte by byte, the time in seconds and no field beyond the three."""
    request = SAMPLE.provider().request(EVENT, now=NOW, nonce=NONCE)
    names = dict(request.headers)
    assert request.body == (
        b'{"SmsSdkAppId":"1400000001","SerialNo":"5000:104571","ConversionTime":1699999990}'
    )
    assert request.url == "https://sms.tencentcloudapi.com/"
    authorization = names.pop("Authorization")
    assert re.fullmatch(
        r"TC3-HMAC-SHA256 Credential=AKIDEXAMPLEEXAMPLEEXAMPLEEXAMPLE0001/2023-11-14/sms/tc3_request, "
        r"SignedHeaders=content-type;host, Signature=[0-9a-f]{64}",
        authorization,
    )
    assert names == {
        "Content-Type": "application/json",
        "X-TC-Action": "ReportConversion",
        "X-TC-Version": "2021-01-11",
        "X-TC-Timestamp": "1700000000",
        "X-TC-Region": "ap-singapore",
        "X-TC-Language": "en-US",
        "X-TC-Token": SAMPLE.options["security_token"],
    }


def test_an_events_app_id_replaces_the_accounts() -> None:
    """The event knows best through which application its message went."""
    request = SAMPLE.provider().request(event(app_id="1400000002"), now=NOW, nonce=NONCE)
    assert json.loads(request.body)["SmsSdkAppId"] == "1400000002"


def test_the_region_is_a_setting() -> None:
    """The nearest region is sent as configured."""
    request = SAMPLE.provider(region="ap-guangzhou").request(EVENT, now=NOW, nonce=NONCE)
    assert ("X-TC-Region", "ap-guangzhou") in request.headers


def test_the_whole_request_is_the_vector() -> None:
    """The provider itself signs vector T9, the compact body, with the published result."""
    published = vector("tencent_tc3", "T9")
    provider = SAMPLE.provider(secret_key=published["secret_key"])
    fields = json.loads(published["body"])
    reported = event(message_id=fields["SerialNo"], occurred_at=fields["ConversionTime"] * 1000 + 999)
    request = provider.request(reported, now=published["timestamp"], nonce=NONCE)
    assert request.body.decode() == published["body"]
    assert dict(request.headers)["Authorization"] == published["expected_authorization"]
