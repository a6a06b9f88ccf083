"""The providers that the simulator knows, with the limit each documents: requests per second and main account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

# Where no limit is documented, these are where otpreport begins.
# tencentcloud.com/document/api/382/49706,
# alibabacloud.com/help/en/sms/developer-reference/api-dysmsapi-2018-05-01-smsconversion,
# developer.8x8.com/connect/docs/api-rate-limiting,
# docs.aws.amazon.com/sms-voice/latest/userguide/quotas.html
LIMITS: Mapping[str, int] = {
    "tencent": 1000,
    "alibaba": 500,
    "alibaba_cn": 500,
    "8x8": 1800,
    "aws": 20,
    "bird": 20,
    "messagebird": 20,
    "telesign": 10,
    "infobip": 50,
    "plivo": 20,
    "sinch": 30,
    "twilio": 100,
    "twilio_verify": 100,
    "volcengine": 50,
    "byteplus": 50,
    "vonage": 30,
}


def _known(name: str) -> str:
    if name not in LIMITS:
        raise ValueError(f"no such provider: known are {', '.join(LIMITS)}")
    return name


ProviderName = Annotated[str, AfterValidator(_known)]
