"""The official SDKs against the simulator: it takes what they send, and refuses it with a wrong secret."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.calls import (
    ALIBABA_CN_KEY,
    ALIBABA_KEY,
    ALIBABA_TEMPORARY,
    AWS_KEY,
    AWS_TEMPORARY,
    BYTEPLUS_KEY,
    KEYS,
    TENCENT_KEY,
    TENCENT_TEMPORARY,
    VOLCENGINE_KEY,
    VOLCENGINE_TEMPORARY,
)
from tests.support.provider_samples import KEY
from tests.support.simulator import SimulatorProcess

# The SDKs carry no types.
_tc_profile = import_module("tencentcloud.common.profile.client_profile")
_tc_http = import_module("tencentcloud.common.profile.http_profile")
_tc_credential = import_module("tencentcloud.common.credential")
_tc_models = import_module("tencentcloud.sms.v20210111.models")
_tc_client = import_module("tencentcloud.sms.v20210111.sms_client")
_acs_models = import_module("alibabacloud_tea_openapi.models")
_international_sdk = import_module("alibabacloud_dysmsapi20180501.client")
_international_models = import_module("alibabacloud_dysmsapi20180501.models")
_china_sdk = import_module("alibabacloud_dysmsapi20170525.client")
_china_models = import_module("alibabacloud_dysmsapi20170525.models")

Key = dict[str, object]


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """One process for the whole file."""
    with SimulatorProcess({"keys": KEYS}) as process:
        yield process


def _tencent(simulator: SimulatorProcess, key: Key) -> Any:
    profile = _tc_http.HttpProfile(protocol="http", endpoint=urlsplit(simulator.url).netloc)
    credential = _tc_credential.Credential(key["id"], key["secret"], key.get("token"))
    client = _tc_client.SmsClient(credential, "ap-singapore", _tc_profile.ClientProfile(httpProfile=profile))
    request = _tc_models.ReportConversionRequest()
    request.SmsSdkAppId, request.SerialNo, request.ConversionTime = (
        "1400006666",
        "5000:1",
        int(time.time()) - 1,
    )
    return client.ReportConversion(request).ReportConversionStatus.Code


def _config(simulator: SimulatorProcess, key: Key) -> Any:
    return _acs_models.Config(
        access_key_id=str(key["id"]),
        access_key_secret=str(key["secret"]),
        security_token=key.get("token"),
        protocol="http",
        endpoint=urlsplit(simulator.url).netloc,
    )


def _international(simulator: SimulatorProcess, key: Key) -> Any:
    request = _international_models.SmsConversionRequest(
        message_id="100 +*~", delivered=True, conversion_time=_now_ms()
    )
    return _international_sdk.Client(_config(simulator, key)).sms_conversion(request).body.response_code


def _china(simulator: SimulatorProcess, key: Key) -> Any:
    request = _china_models.SmsConversionIntlRequest(
        message_id="900^0", delivered=False, conversion_time=_now_ms()
    )
    return _china_sdk.Client(_config(simulator, key)).sms_conversion_intl(request).body.code


def _aws(simulator: SimulatorProcess, key: Key) -> str:
    client = (
        pytest.importorskip("botocore.session")
        .Session()
        .create_client(
            "pinpoint-sms-voice-v2",
            region_name="eu-west-1",
            endpoint_url=simulator.url,
            aws_access_key_id=key["id"],
            aws_secret_access_key=key["secret"],
            aws_session_token=key.get("token"),
        )
    )
    answer = client.put_message_feedback(MessageId="a1b2-c3d4", MessageFeedbackStatus="FAILED")
    return str(answer["MessageFeedbackStatus"])


def _volcengine(simulator: SimulatorProcess, key: Key) -> Any:
    service = pytest.importorskip("volcengine.sms.SmsService").SmsService()
    credentials = import_module("volcengine.Credentials").Credentials
    service.service_info = import_module("volcengine.ServiceInfo").ServiceInfo(
        urlsplit(simulator.url).netloc,
        {"Accept": "application/json"},
        credentials(key["id"], key["secret"], "volcSMS", "cn-north-1", key.get("token", "")),
        5,
        5,
        "http",
    )
    return service.conversion({"MessageIDs": ["b69aeb31", "b34779e3"]})


def _now_ms() -> int:
    return int(time.time() * 1000) - 1000


@pytest.mark.parametrize("key", [TENCENT_KEY, TENCENT_TEMPORARY], ids=["lasting", "temporary"])
def test_the_tencent_sdk_is_understood(simulator: SimulatorProcess, key: Key) -> None:
    """A report of the official SDK is taken, also with a temporary key; with a wrong secret it is not."""
    assert _tencent(simulator, key) == "ok"
    with pytest.raises(Exception, match=r"SignatureFailure"):
        _tencent(simulator, key | {"secret": "x"})


@pytest.mark.parametrize("key", [ALIBABA_KEY, ALIBABA_TEMPORARY], ids=["lasting", "temporary"])
def test_the_alibaba_sdk_is_understood(simulator: SimulatorProcess, key: Key) -> None:
    """A report of the official SDK is taken, also with a temporary key; with a wrong secret it is not."""
    assert _international(simulator, key) == "OK"
    with pytest.raises(Exception, match=r"SignatureDoesNotMatch"):
        _international(simulator, key | {"secret": "x"})


def test_the_alibaba_sdk_for_china_is_understood(simulator: SimulatorProcess) -> None:
    """A report of the official SDK of the China site is taken; with a wrong secret it is not."""
    assert _china(simulator, ALIBABA_CN_KEY) == "OK"
    with pytest.raises(Exception, match=r"SignatureDoesNotMatch"):
        _china(simulator, ALIBABA_CN_KEY | {"secret": "x"})


@pytest.mark.parametrize("key", [AWS_KEY, AWS_TEMPORARY], ids=["lasting", "temporary"])
def test_botocore_is_understood(simulator: SimulatorProcess, key: Key) -> None:
    """A report of the official SDK is taken, also with a temporary key; with a wrong secret it is not."""
    assert _aws(simulator, key) == "FAILED"
    with pytest.raises(Exception, match=r"InvalidSignatureException"):
        _aws(simulator, key | {"secret": "x"})


def test_the_sinch_sdk_is_understood() -> None:
    """Feedback of the official SDK is taken; with a wrong token it is not."""
    sinch = pytest.importorskip("sinch")

    def send(token: str) -> None:
        client = sinch.SinchClient(service_plan_id="plan0001", sms_api_token=token, sms_region="us")
        client.configuration.sms_domain_with_service_plan_id = process.url
        client.sms.batches.send_delivery_feedback("01FC66621XXXXX119Z8PMV1QPQ", recipients=[])

    with SimulatorProcess({"keys": [{"provider": "sinch", "id": "plan0001", "secret": KEY}]}) as process:
        send(KEY)
        with pytest.raises(Exception, match=r"401"):
            send("x")
        assert process.summary()["taken"] == 1


@pytest.mark.parametrize("key", [VOLCENGINE_KEY, VOLCENGINE_TEMPORARY], ids=["lasting", "temporary"])
def test_the_volcengine_sdk_is_understood(simulator: SimulatorProcess, key: Key) -> None:
    """A batch of the official SDK is taken, also with a temporary key; with a wrong secret it is not."""
    answer = _volcengine(simulator, key)
    assert (answer["Result"], "Error" in answer["ResponseMetadata"]) == ("", False)
    assert simulator.ledger()[-1]["message_id"] == "b69aeb31,b34779e3"
    with pytest.raises(Exception, match=r"RetryError"):
        _volcengine(simulator, key | {"secret": "x"})
    assert simulator.ledger()[-1]["code"] == "SignatureDoesNotMatch"


def test_the_byteplus_sdk_is_refused_for_its_encoding(simulator: SimulatorProcess) -> None:
    """It sends another body than it signs, and the simulator checks what arrives: a text, so it names no message."""
    service = pytest.importorskip("byteplus_sdk.sms.SmsService").SmsService("ap-singapore-1")
    service.service_info.host, service.service_info.scheme = urlsplit(simulator.url).netloc, "http"
    service.set_ak(BYTEPLUS_KEY["id"])
    service.set_sk(BYTEPLUS_KEY["secret"])
    with pytest.raises(Exception, match=r"SignatureDoesNotMatch"):
        service.conversion('{"MessageIDs": ["b69aeb31"]}')
    assert simulator.ledger()[-1]["code"] == "SignatureDoesNotMatch"
