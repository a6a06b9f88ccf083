"""8x8: its codes, success without a byte, and the sub-account in the path."""

import json

import pytest
from pydantic import ValidationError

from providers import Answer, Result
from providers.eight_by_eight import CODES, EightByEight, EightByEightOptions
from tests.support.provider_samples import JSON, KEY, NONCE, NOW, SAMPLES, event

SAMPLE = SAMPLES["8x8"]
EXPECTED = {
    Result.DELIVERED: "recorded",
    Result.THROTTLED: "429 1100",
    Result.UNKNOWN: "2000",
    Result.ACCOUNT: "1200 1201 1001 1014 2001 2002 2003",
    Result.DOUBTFUL: "1300 1400",
    Result.PERMANENT: "1000 1002 1003 1004 1005 1006 1007 1008 1009 1010 1011 1012",
}
PAIRS = [(code, result) for result, codes in EXPECTED.items() for code in codes.split()]


def said(status: int, code: object) -> Answer:
    """Return an error as 8x8 writes it."""
    body = {"code": code, "message": "m", "errorId": "e-1", "timestamp": "2023-11-14T22:13:20.12Z"}
    return Answer(status, JSON, json.dumps(body).encode())


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert dict(PAIRS) == CODES.rows


@pytest.mark.parametrize(("code", "result"), [pair for pair in PAIRS if len(pair[0]) == 4])
def test_each_documented_code_has_its_class(code: str, result: Result) -> None:
    """The code is a number, and `errorId` names the request."""
    outcome = SAMPLE.provider().outcome(said(400, int(code)), event())
    assert (outcome.result, outcome.code, outcome.message, outcome.request_id) == (result, code, "m", "e-1")


@pytest.mark.parametrize("code", [1000, 1013, 1200, 1300, 3000, 9999])
def test_a_429_is_throttled_whatever_its_code(code: int) -> None:
    """8x8 documents the status; and a throttled report must not become a dead letter, nor stop the account."""
    outcome = SAMPLE.provider().outcome(said(429, code), event())
    assert (outcome.result, outcome.code) == (Result.THROTTLED, "429")


@pytest.mark.parametrize("code", [0, 1, 999, 1013, 1099, 3000, 3999, 12000, 1200.0, True, None, "recorded"])
def test_any_other_code_proves_nothing(code: object) -> None:
    """An unlisted number is doubtful, and what is no code unknown; least of all is `recorded` a code of 8x8's."""
    outcome = SAMPLE.provider().outcome(said(400, code), event())
    assert outcome.result in {Result.DOUBTFUL, Result.UNKNOWN}


@pytest.mark.parametrize("body", [b" ", b"\n", b"{}", b'""', b"null", b"OK", b'{"outcome":"success"}', b"\0"])
def test_success_has_no_byte(body: bytes) -> None:
    """Anything in a 200 is not what is documented."""
    assert SAMPLE.provider().outcome(Answer(200, JSON, body), event()).result is Result.UNKNOWN


@pytest.mark.parametrize(
    "status", [201, 202, 203, 204, 205, 206, 302, 304, 400, 401, 403, 404, 410, 500, 503]
)
def test_success_is_a_200(status: int) -> None:
    """No other status without a body says anything: 8x8's errors have one."""
    assert SAMPLE.provider().outcome(Answer(status, {}, b""), event()).result is Result.UNKNOWN


def test_a_time_before_the_sending_is_left_out() -> None:
    """It is optional, so 8x8 takes its own."""
    request = SAMPLE.provider().request(event(sent_at=int(NOW * 1000)), now=NOW, nonce=NONCE)
    assert json.loads(request.body) == {"outcome": "success"}


@pytest.mark.parametrize("given", ["ab", "a" * 51, "a/b", "a%26b", "../x", "a b c", "é" * 3])
def test_a_subaccount_has_its_form(given: str) -> None:
    """An id that can't be one is found at once."""
    with pytest.raises(ValidationError, match="subaccount_id"):
        EightByEightOptions.model_validate({"subaccount_id": given, "api_key": KEY})


def test_a_report_is_worth_nothing_after_15_minutes() -> None:
    """8x8 takes it no later, counted from the sending."""
    assert EightByEight.deadline == 900
