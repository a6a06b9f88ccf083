"""Twilio Verify: what differs from Message Feedback, its codes and the answer that proves a report."""

import json

import pytest
from pydantic import ValidationError

from providers import Answer, Result, twilio
from providers.twilio_verify import CODES, TwilioVerify, TwilioVerifyOptions
from tests.support.provider_samples import JSON, KEY, SAMPLES, event

SAMPLE = SAMPLES["twilio_verify"]
OWN = {
    "20404": Result.PERMANENT,
    "60200": Result.PERMANENT,
    "60202": Result.PERMANENT,
    "60203": Result.THROTTLED,
    "60212": Result.THROTTLED,
}


def test_the_table_is_that_of_twilio_and_its_own() -> None:
    """What is not found has ended, which Message Feedback doesn't say."""
    assert CODES.rows == twilio.CODES.rows | OWN
    assert twilio.CODES.rows["20404"] is Result.DOUBTFUL


@pytest.mark.parametrize(("code", "result"), OWN.items())
def test_each_code_of_its_own_has_its_class(code: str, result: Result) -> None:
    """The code is a number."""
    answer = Answer(400, JSON, json.dumps({"code": int(code), "message": "m"}).encode())
    assert SAMPLE.provider().outcome(answer, event()).result is result


def test_success_repeats_what_was_sent() -> None:
    """Only a 200 with the status that was sent proves it; a verification that waits proves nothing."""
    for status, said, verified, delivered in (
        (200, "approved", True, True),
        (200, "canceled", False, True),
        (200, "pending", True, False),
        (200, "canceled", True, False),
        (200, "approved", False, False),
        (201, "approved", True, False),
    ):
        answer = Answer(status, JSON, json.dumps({"sid": "x", "status": said, "valid": True}).encode())
        outcome = SAMPLE.provider().outcome(answer, event(verified=verified))
        assert (outcome.result is Result.DELIVERED) is delivered, said


def test_a_report_is_worth_nothing_after_ten_minutes() -> None:
    """A verification ends then, whatever became of it."""
    assert TwilioVerify.deadline == 600


def test_a_service_is_needed() -> None:
    """And its SID has its form."""
    given = {"account_sid": f"AC{'0' * 32}", "auth_token": KEY}
    for service in ({}, {"service_sid": f"VE{'0' * 32}"}):
        with pytest.raises(ValidationError, match="service_sid"):
            TwilioVerifyOptions.model_validate(given | service)
