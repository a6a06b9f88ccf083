"""Volcengine: its codes, and what it takes for success."""

import json

import pytest

from providers import Answer, Outcome, Result
from providers.proof import Standing, weigh
from providers.volcengine import CODES, Volcengine
from tests.support.provider_samples import JSON, NONCE, NOW, REQUEST_ID, SAMPLES, event

SAMPLE = SAMPLES["volcengine"]
EXPECTED = {
    Result.THROTTLED: "FlowLimitExceeded AccountFlowLimitExceeded",
    Result.TRANSIENT: "ServiceUnavailable*",
    Result.UNKNOWN: "InternalError InternalServiceTimeout RE:0500",
    Result.CLOCK: "InvalidTimestamp",
    Result.ACCOUNT: "InvalidAccessKey InvalidClientTokenId SignatureDoesNotMatch MissingAuthenticationToken"
    " MissingSignature LackPolicy AccessDenied MissingParameter MissingRequestInfo ServiceNotFound"
    " InvalidActionOrVersion RE:0000 RE:0001 RE:0007",
    Result.PERMANENT: "RE:0009",
    Result.DELIVERED: "recorded",
}
PAIRS = [(code, result) for result, codes in EXPECTED.items() for code in codes.split()]


def judged(error: object, status: int = 400, **more: object) -> Outcome:
    """Judge an answer with an error."""
    metadata = {"RequestId": "r", "Action": "Conversion", "Error": error}
    body = json.dumps({"ResponseMetadata": metadata, **more}).encode()
    return SAMPLE.provider().outcome(Answer(status, JSON, body), event())


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert dict(PAIRS) == CODES.rows


@pytest.mark.parametrize(("code", "result"), [pair for pair in PAIRS if pair[0] != "recorded"])
def test_each_documented_code_has_its_class(code: str, result: Result) -> None:
    """Whatever the status: errors of the product come with 200, and with the result of a success."""
    code = code.replace("*", "Now")
    for status in (200, 400, 401, 500):
        outcome = judged({"CodeN": 1, "Code": code, "Message": "m"}, status, Result="")
        assert (outcome.result, outcome.code, outcome.message) == (result, code, "m")
        assert outcome.request_id == "r"


@pytest.mark.parametrize(
    ("code", "number", "as_if", "result"),
    [
        ("ServiceFlowLimitExceeded", 100028, "FlowLimitExceeded", Result.THROTTLED),
        ("ServiceUnavailable", 100007, "ServiceNotFound", Result.ACCOUNT),
        ("ServiceUnavailable", 100015, "ServiceUnavailable", Result.TRANSIENT),
        ("ServiceUnavailable", "100007", "ServiceUnavailable", Result.TRANSIENT),
        ("RE:0010", 0, "RE:0010", Result.DOUBTFUL),
        ("Unheard", 100007, "Unheard", Result.DOUBTFUL),
    ],
)
def test_a_code_is_read_with_its_number(code: str, number: object, as_if: str, result: Result) -> None:
    """Every limit of flow is one, and what was no such service of old stops the account; others never condemn."""
    outcome = judged({"CodeN": number, "Code": code, "Message": ""})
    assert (outcome.result, outcome.code) == (result, as_if)


@pytest.mark.parametrize("error", [{}, [], "RE:0009", False, {"Code": 100010}, {"CodeN": 100010}])
def test_an_error_without_a_code_proves_nothing(error: object) -> None:
    """Neither a refusal nor, though the rest is as documented, a delivery."""
    assert judged(error, 200, Result="").result is Result.UNKNOWN


def test_success_has_no_error_and_the_documented_result() -> None:
    """Another action, or a result that says something, is not what the page shows."""
    metadata = {"RequestId": REQUEST_ID, "Action": "Conversion"}
    answers: tuple[tuple[dict[str, object], bool], ...] = (
        ({"ResponseMetadata": metadata, "Result": ""}, True),
        ({"ResponseMetadata": metadata | {"Error": None}, "Result": ""}, True),
        ({"ResponseMetadata": metadata}, False),
        ({"ResponseMetadata": metadata, "Result": None}, False),
        ({"ResponseMetadata": metadata, "Result": ["b69aeb31"]}, False),
        ({"ResponseMetadata": metadata | {"Action": "SendSms"}, "Result": ""}, False),
        ({"ResponseMetadata": {}, "Result": ""}, False),
        ({"Result": ""}, False),
    )
    for body, delivered in answers:
        answer = Answer(200, JSON, json.dumps(body).encode())
        outcome = SAMPLE.provider().outcome(answer, event())
        assert (outcome.result is Result.DELIVERED) is delivered, body


def test_what_a_probe_lacks_is_no_fault_of_the_account() -> None:
    """The gateway's name for a missing parameter stops reports, which have theirs, but bars no probe."""
    missing = SAMPLE.gateway("MissingParameter")
    assert SAMPLE.provider().outcome(missing, event()).result is Result.ACCOUNT
    standing = weigh(SAMPLE.provider().probed(missing), Volcengine.key_faults).standing
    assert standing is Standing.ACCEPTED


def test_a_call_has_one_id() -> None:
    """No batches: what is wrong with one id must not be said of another."""
    request = SAMPLE.provider().request(event(message_id="a,b"), now=NOW, nonce=NONCE)
    assert request.body == b'{"MessageIDs":["a,b"]}'
