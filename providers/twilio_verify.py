"""Twilio Verify, for verifications with custom codes: the status of a verification, version 2.

Sources: twilio.com/docs/verify/api/verification ("Update a Verification status"),
github.com/twilio/twilio-oai (twilio_verify_v2.json).
"""

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from providers import twilio
from providers.base import Result, Unverified
from providers.codes import CodeTable

CODES = CodeTable(
    twilio.CODES.rows
    | {
        # A verification ends ten minutes after its start, and is not found any more.
        "20404": Result.PERMANENT,
        "60200": Result.PERMANENT,
        "60202": Result.PERMANENT,
        "60203": Result.THROTTLED,
        "60212": Result.THROTTLED,
    }
)


class TwilioVerifyOptions(twilio.TwilioOptions):
    """Credentials of a Twilio account, and its service."""

    service_sid: Annotated[str, twilio.sid("VA")] = Field(
        description="SID of the Verify service, which has custom codes."
    )


class TwilioVerify(twilio.Twilio):
    """Report verified codes as approved, and unverified ones as canceled."""

    name: ClassVar[str] = "twilio_verify"
    endpoint: ClassVar[str] = "https://verify.twilio.com"
    deadline: ClassVar[float | None] = 600.0
    unverified: ClassVar[Unverified] = "reported"
    Options: ClassVar[type[BaseModel]] = TwilioVerifyOptions
    _codes: ClassVar[CodeTable] = CODES
    _statuses: ClassVar[frozenset[int]] = frozenset({200})
    _path: ClassVar[str] = "v2/Services/{service_sid}/Verifications/{{id}}"
    _nowhere: ClassVar[str] = f"VE{'0' * 32}"
    _parameter: ClassVar[str] = "Status"
    _words: ClassVar[tuple[str, str]] = ("canceled", "approved")
