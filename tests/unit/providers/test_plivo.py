"""Plivo: statuses for codes, errors with a text, and a time that is always there."""

import json

import pytest
from pydantic import ValidationError

from providers import Answer, Result
from providers.plivo import CODES, PlivoOptions
from tests.support.provider_samples import JSON, KEY, NONCE, NOW, SAMPLES, TEXT, event

SAMPLE = SAMPLES["plivo"]
EXPECTED = {
    "recorded": Result.DELIVERED,
    "429": Result.THROTTLED,
    "503": Result.TRANSIENT,
    "500": Result.UNKNOWN,
    "502": Result.UNKNOWN,
    "504": Result.UNKNOWN,
    "401": Result.ACCOUNT,
    "403": Result.ACCOUNT,
    "404": Result.DOUBTFUL,
    "400": Result.PERMANENT,
}
STATUSES = [pair for pair in EXPECTED.items() if pair[0].isdigit()]
SUCCESS = {
    "api_id": "a-1",
    "conversion_uuid": "conv-db3ce55a-7f1d-11e1-8ea7-1231380bc196",
    "message": "successfully recorded.",
    "message_uuid": "db3ce55a-7f1d-11e1-8ea7-1231380bc196",
}


def judged(status: int, body: object) -> Result:
    """Return the class of an answer."""
    return SAMPLE.provider().outcome(Answer(status, JSON, json.dumps(body).encode()), event()).result


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert CODES.rows == EXPECTED


@pytest.mark.parametrize(("code", "result"), STATUSES)
def test_each_status_has_its_class(code: str, result: Result) -> None:
    """The status is the code of an error, its text the message, and `api_id` names the request."""
    body = json.dumps({"api_id": "a-1", "error": "m"}).encode()
    outcome = SAMPLE.provider().outcome(Answer(int(code), JSON, body), event())
    assert (outcome.result, outcome.code, outcome.message, outcome.request_id) == (result, code, "m", "a-1")


@pytest.mark.parametrize(("code", "result"), [pair for pair in STATUSES if pair[0] != "400"])
def test_a_status_alone_has_its_class(code: str, result: Result) -> None:
    """As that of a 401, which is plain text."""
    outcome = SAMPLE.provider().outcome(Answer(int(code), TEXT, b"m"), event())
    assert (outcome.result, outcome.code, outcome.message) == (result, code, "m")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Bad Request",
        b"{}",
        b'{"error":"m"}',
        b'{"api_id":"a-1"}',
        b'{"api_id":"a-1","error":""}',
        b'{"api_id":"a-1","error":null}',
        b'{"api_id":1,"error":"m"}',
        b'{"api_id":"a-1","error":"m"',
        json.dumps(SUCCESS).encode(),
    ],
)
def test_a_400_is_permanent_in_plivos_own_form_alone(body: bytes) -> None:
    """Anybody on the way may answer 400, and would say so in another form."""
    for names in (JSON, TEXT, {}):
        assert SAMPLE.provider().outcome(Answer(400, names, body), event()).result is Result.UNKNOWN


@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_names_the_conversion(status: int) -> None:
    """Without its id, or with an error beside it, nothing is proved."""
    assert judged(status, SUCCESS) is Result.DELIVERED
    for wrong in (
        {name: value for name, value in SUCCESS.items() if name != "conversion_uuid"},
        SUCCESS | {"conversion_uuid": ""},
        SUCCESS | {"conversion_uuid": None},
        SUCCESS | {"conversion_uuid": 1},
        SUCCESS | {"error": "not trackable"},
        SUCCESS | {"error": None},
        {"data": SUCCESS},
        [SUCCESS],
    ):
        assert judged(status, wrong) is Result.UNKNOWN, wrong


@pytest.mark.parametrize("status", [203, 204, 206, 302, 304, 400, 409, 422, 500])
def test_success_has_a_documented_status(status: int) -> None:
    """With another one its form is not Plivo's."""
    assert judged(status, SUCCESS) is Result.UNKNOWN


def test_the_time_is_a_second_after_the_sending_at_least() -> None:
    """It may not be left out: a clock that is behind the sender's must not put it before the sending."""
    for sent_ago_ms, written in ((30_000, "22:13:10.123"), (10_127, "22:13:11.123"), (500, "22:13:20.250")):
        sent = event(sent_at=int(NOW * 1000) - sent_ago_ms)
        body = json.loads(SAMPLE.provider().request(sent, now=NOW, nonce=NONCE).body)
        assert body == {"status": "CONVERTED", "timestamp": f"2023-11-14T{written}Z"}


@pytest.mark.parametrize("given", [".", "..", "MA/..", "MA%2F", "MAÉ", "x" * 129])
def test_an_auth_id_has_the_form_of_an_id(given: str) -> None:
    """It stands in the path, where it must not lead elsewhere."""
    with pytest.raises(ValidationError, match="auth_id"):
        PlivoOptions.model_validate({"auth_id": given, "auth_token": KEY})
