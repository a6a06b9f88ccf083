"""AWS: its codes, what it takes for success, and where a region leads."""

import json

import pytest
from pydantic import ValidationError

from providers import Answer, Result
from providers.aws import CODES, Aws, AwsOptions
from providers.proof import Standing, weigh
from tests.support.provider_samples import JSON, KEY, NONCE, NOW, SAMPLES, event

SAMPLE = SAMPLES["aws"]
NAMESPACE = "com.amazonaws.pinpointsmsvoicev2#"
EXPECTED = {
    Result.THROTTLED: "ThrottlingException Throttling ThrottledException TooManyRequestsException"
    " RequestLimitExceeded RequestThrottled* SlowDown BandwidthLimitExceeded LimitExceededException",
    Result.UNKNOWN: "InternalServerException InternalFailure InternalError",
    Result.TRANSIENT: "ServiceUnavailable ServiceUnavailableException RequestTimeout RequestTimeoutException",
    Result.CLOCK: "SignatureExpired RequestExpired RequestTimeTooSkewed RequestInTheFuture",
    Result.ACCOUNT: "InvalidSignatureException SignatureDoesNotMatch UnrecognizedClientException"
    " InvalidClientTokenId InvalidAccessKeyId IncompleteSignature MissingAuthenticationToken* ExpiredToken*"
    " AccessDeniedException NotAuthorized OptInRequired"
    " UnknownOperationException SerializationException InvalidAction",
    Result.DOUBTFUL: "ResourceNotFoundException",
    Result.PERMANENT: "ValidationException",
    Result.DELIVERED: "recorded",
}
PAIRS = [(code, result) for result, codes in EXPECTED.items() for code in codes.split()]


def refused(kind: object, message: str = "m", name: str = "Message") -> Answer:
    """Answer with an error."""
    return Answer(400, JSON | {"x-amzn-requestid": "r"}, json.dumps({"__type": kind, name: message}).encode())


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert dict(PAIRS) == CODES.rows


@pytest.mark.parametrize(("code", "result"), [pair for pair in PAIRS if pair[0] != "recorded"])
def test_each_documented_code_has_its_class(code: str, result: Result) -> None:
    """A namespace before the code and an address after it do no harm, and both spellings of the text are read."""
    code = code.replace("*", "Exception")
    for kind in (code, NAMESPACE + code, f"{NAMESPACE}{code}:http://internal.amazon.com/coral/"):
        for name in ("message", "Message"):
            outcome = SAMPLE.provider().outcome(refused(kind, name=name), event())
            assert (outcome.result, outcome.code, outcome.message) == (result, code, "m")
            assert outcome.request_id == "r"


@pytest.mark.parametrize("kind", ["ConflictException", "ServiceQuotaExceededException", "x#y#Unheard"])
def test_other_codes_never_condemn(kind: str) -> None:
    """A code that is in no list is doubtful."""
    assert SAMPLE.provider().outcome(refused(kind), event()).result is Result.DOUBTFUL


@pytest.mark.parametrize("kind", [None, "", 400, ["ValidationException"], "x#", ":ValidationException"])
def test_what_is_no_code_proves_nothing(kind: object) -> None:
    """Neither a delivery nor a refusal."""
    assert SAMPLE.provider().outcome(refused(kind), event()).result is Result.UNKNOWN


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch"])
@pytest.mark.parametrize(
    ("message", "result"),
    [
        ("Signature expired: 20231114T221320Z is now earlier than 20231114T221820Z", Result.CLOCK),
        ("Signature not yet current: 20231114T221320Z is still later than 20231114T", Result.CLOCK),
        ("The request signature we calculated does not match", Result.ACCOUNT),
        ("It says: Signature expired: ", Result.ACCOUNT),
        ("", Result.ACCOUNT),
    ],
)
def test_the_text_tells_a_wrong_time_from_a_wrong_key(code: str, message: str, result: Result) -> None:
    """AWS has one code for both; a wrong clock must not stop the account."""
    assert SAMPLE.provider().outcome(refused(code, message), event()).result is result
    assert (
        SAMPLE.provider().outcome(refused("ValidationException", message), event()).result is Result.PERMANENT
    )


def test_success_repeats_what_was_said() -> None:
    """The other status, none, or an error beside it proves nothing."""
    for body, verified, delivered in (
        ({"MessageId": "x", "MessageFeedbackStatus": "RECEIVED"}, True, True),
        ({"MessageId": "x", "MessageFeedbackStatus": "FAILED"}, False, True),
        ({"MessageId": "x", "MessageFeedbackStatus": "FAILED"}, True, False),
        ({"MessageId": "x", "MessageFeedbackStatus": "RECEIVED"}, False, False),
        ({"MessageId": "x", "MessageFeedbackStatus": ""}, True, False),
        ({"MessageId": "x"}, True, False),
        ({"MessageFeedbackStatus": "RECEIVED", "__type": "ResourceNotFoundException"}, True, False),
        ({"MessageFeedbackStatus": "RECEIVED", "__type": 5}, True, False),
    ):
        answer = Answer(200, JSON, json.dumps(body).encode())
        outcome = SAMPLE.provider().outcome(answer, event(verified=verified))
        assert (outcome.result is Result.DELIVERED) is delivered, body


def test_a_probe_that_is_answered_as_a_report_proves_nothing() -> None:
    """A probe says no status, so none can be repeated."""
    for answer in SAMPLE.taken:
        outcome = SAMPLE.provider().probed(answer)
        assert weigh(outcome, Aws.key_faults).standing is Standing.UNPROVED


def test_the_region_is_in_host_and_signature() -> None:
    """A request goes to the region that it is signed for; another endpoint, as of FIPS, keeps the region."""
    for endpoint, host in (
        (None, "sms-voice.eu-west-1.amazonaws.com"),
        ("https://fips.example", "fips.example"),
    ):
        request = SAMPLE.provider(endpoint).request(event(), now=NOW, nonce=NONCE)
        assert request.url == f"https://{host}/"
        assert "/20231114/eu-west-1/sms-voice/aws4_request" in dict(request.headers)["authorization"]


@pytest.mark.parametrize("region", ["", "EU-WEST-1", "eu west", "evil.example/", "a" * 33])
def test_a_region_is_part_of_a_host(region: str) -> None:
    """Nothing else could send the keys' signatures elsewhere."""
    with pytest.raises(ValidationError, match="region"):
        AwsOptions.model_validate({"access_key_id": "A", "secret_access_key": KEY, "region": region})
