"""Twilio: its codes, its two ways to sign in, and what it takes for success."""

import json

import pytest
from pydantic import ValidationError

from providers import Answer, Result
from providers.proof import Standing, weigh
from providers.twilio import CODES, Twilio, TwilioOptions
from tests.support.provider_samples import JSON, KEY, NONCE, NOW, SAMPLES, event

SAMPLE = SAMPLES["twilio"]
SID, KEY_SID = "AC00000000000000000000000000000001", "SK22222222222222222222222222222222"
EXPECTED = {
    Result.THROTTLED: "20429",
    Result.TRANSIENT: "20503",
    Result.UNKNOWN: "20500 20504",
    Result.ACCOUNT: "20003 20008 70051 10001 20005 20006 20010 20403 20004 20011 20012 20426",
    Result.DOUBTFUL: "20404 20409 20410 20412",
    Result.PERMANENT: "20413 20422 20423",
    Result.DELIVERED: "recorded",
}
PAIRS = [(code, result) for result, codes in EXPECTED.items() for code in codes.split()]


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert dict(PAIRS) == CODES.rows


@pytest.mark.parametrize(("code", "result"), [pair for pair in PAIRS if pair[0].isdigit()])
def test_each_documented_code_has_its_class(code: str, result: Result) -> None:
    """A code counts as a number and as a text."""
    for said in (int(code), code):
        answer = Answer(400, JSON, json.dumps({"code": said, "message": "m", "status": 400}).encode())
        outcome = SAMPLE.provider().outcome(answer, event())
        assert (outcome.result, outcome.code, outcome.message) == (result, code, "m")


@pytest.mark.parametrize("code", [21211, 30003, 60200, True, 20404.0, [20404]])
def test_other_codes_never_condemn(code: object) -> None:
    """Codes of sending are doubtful; what is no number is none."""
    answer = Answer(400, JSON, json.dumps({"code": code, "message": "m"}).encode())
    expected = Result.DOUBTFUL if type(code) is int else Result.UNKNOWN
    assert SAMPLE.provider().outcome(answer, event()).result is expected


@pytest.mark.parametrize("status", [200, 201])
def test_success_repeats_what_was_said(status: int) -> None:
    """The other outcome, none, or a code beside it proves nothing."""
    for body, verified, delivered in (
        ({"outcome": "confirmed"}, True, True),
        ({"outcome": "unconfirmed"}, False, True),
        ({"outcome": "unconfirmed"}, True, False),
        ({"outcome": "confirmed"}, False, False),
        ({"outcome": "Confirmed"}, True, False),
        ({"outcome": ""}, True, False),
        ({}, True, False),
        ({"outcome": "confirmed", "code": 20404}, True, False),
    ):
        answer = Answer(status, JSON, json.dumps(body).encode())
        outcome = SAMPLE.provider().outcome(answer, event(verified=verified))
        assert (outcome.result is Result.DELIVERED) is delivered, body


def test_an_api_key_takes_the_place_of_the_token() -> None:
    """It signs in as itself, for the account, whose requests are counted together."""
    token = SAMPLE.provider()
    key = SAMPLE.provider(api_key_sid=KEY_SID, api_key_secret=KEY)
    assert (token.key_id, token.owner_id) == (SID, SID)
    assert (key.key_id, key.owner_id) == (KEY_SID, SID)
    urls = {one.request(event(), now=NOW, nonce=NONCE).url for one in (token, key)}
    assert len(urls) == 1


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ({}, "auth_token is missing, or give api_key_sid and api_key_secret"),
        ({"api_key_sid": KEY_SID}, "api_key_secret is missing"),
        ({"api_key_secret": KEY}, "api_key_sid is missing"),
        ({"auth_token": KEY, "api_key_sid": KEY_SID}, "api_key_secret is missing"),
    ],
)
def test_half_a_key_is_refused(given: dict[str, str], lacking: str) -> None:
    """What is missing is named."""
    with pytest.raises(ValidationError, match=lacking):
        TwilioOptions.model_validate({"account_sid": SID, **given})


@pytest.mark.parametrize("sid", ["AC1", SID.lower(), "SK" + SID[2:], SID + "0", "AC" + "g" * 32])
def test_a_sid_has_its_form(sid: str) -> None:
    """A SID of another kind is found at once, and not by a refusal hours later."""
    with pytest.raises(ValidationError, match="account_sid"):
        TwilioOptions.model_validate({"account_sid": sid, "auth_token": KEY})


def test_a_probe_that_is_answered_as_a_report_proves_nothing() -> None:
    """A probe says no outcome, so none can be repeated."""
    for answer in SAMPLE.taken:
        outcome = SAMPLE.provider().probed(answer)
        assert weigh(outcome, Twilio.key_faults).standing is Standing.UNPROVED
