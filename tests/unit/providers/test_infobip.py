"""Infobip: two forms of its errors, success with a named member, and a key without a public half."""

import json

import pytest

import config
from providers import Answer, Result
from providers.infobip import CODES
from tests.support.provider_samples import JSON, NONCE, NOW, SAMPLES, event

SAMPLE = SAMPLES["infobip"]
EXPECTED = {
    Result.DELIVERED: "recorded",
    Result.THROTTLED: "TOO_MANY_REQUESTS E429",
    Result.TRANSIENT: "SERVICE_UNAVAILABLE",
    Result.UNKNOWN: "GENERAL_ERROR E500",
    Result.ACCOUNT: "UNAUTHORIZED E401 FORBIDDEN E403",
    Result.DOUBTFUL: "NOT_FOUND E404",
    Result.PERMANENT: "BAD_REQUEST E400",
}
PAIRS = [(code, result) for result, codes in EXPECTED.items() for code in codes.split()]
ERRORS = [pair for pair in PAIRS if pair[0] != "recorded"]
SUCCESS = {"processKey": "A37D448C1ACCA02FABA745522558326C"}


def judged(status: int, body: object) -> Result:
    """Return the class of an answer."""
    return SAMPLE.provider().outcome(Answer(status, JSON, json.dumps(body).encode()), event()).result


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert dict(PAIRS) == CODES.rows


@pytest.mark.parametrize(("code", "result"), ERRORS)
def test_each_documented_code_has_its_class(code: str, result: Result) -> None:
    """In the older form and in the newer one."""
    exception = {"messageId": code, "text": "m", "validationErrors": {"id": ["wrong"]}}
    newer = {"errorCode": code, "description": "m", "action": "Check it.", "violations": list[str]()}
    for body in ({"requestError": {"serviceException": exception}}, newer):
        outcome = SAMPLE.provider().outcome(Answer(400, JSON, json.dumps(body).encode()), event())
        assert (outcome.result, outcome.code, outcome.message) == (result, code, "m")


@pytest.mark.parametrize(
    "body",
    [
        {"requestError": dict[str, object]()} | SUCCESS,
        {"requestError": None} | SUCCESS,
        {"requestError": {"serviceException": {"text": "m"}}},
        {"requestError": {"serviceException": "BAD_REQUEST"}},
        {"requestError": {"policyException": {"messageId": "BAD_REQUEST"}}},
        {"errorCode": 400},
        {"errorCode": None} | SUCCESS,
        {"processKey": ""},
        {"processKey": None},
        {"processKey": 1},
        {"processkey": "A37D448C1ACCA02FABA745522558326C"},
        {"process": SUCCESS},
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_what_is_neither_proves_nothing(status: int, body: object) -> None:
    """Success has its member and no error beside it, an error its code."""
    assert judged(status, body) is Result.UNKNOWN


def test_an_error_beside_the_key_counts() -> None:
    """Whoever says both has not taken the report."""
    assert judged(200, SUCCESS | {"errorCode": "E404", "description": "m"}) is Result.DOUBTFUL


def test_an_answer_in_xml_proves_nothing() -> None:
    """The request asks for JSON, which is all that is read."""
    body = b"<response><processKey>A37D448C1ACCA02FABA745522558326C</processKey></response>"
    answer = Answer(200, {"content-type": "application/xml"}, body)
    assert SAMPLE.provider().outcome(answer, event()).result is Result.UNKNOWN
    request = SAMPLE.provider().request(event(), now=NOW, nonce=NONCE)
    assert ("accept", "application/json") in request.headers


def test_a_key_is_named_by_a_digest() -> None:
    """Two keys have two names, and neither shows its key."""
    first, second = (SAMPLE.provider(api_key=key) for key in ("key-number-one", "key-number-two"))
    assert first.key_id != second.key_id
    assert "number" not in first.key_id + first.owner_id


def test_an_account_names_its_own_host() -> None:
    """There is no host for all, so the endpoint is required, and its lack is told."""
    given = {
        "OTPREPORT_REDIS_URL": "redis://127.0.0.1",
        "OTPREPORT_ACCOUNTS__MAIN__PROVIDER": "infobip",
        "OTPREPORT_ACCOUNTS__MAIN__API_KEY": "k",
    }
    with pytest.raises(config.SettingsError, match=r"accounts\.main\.endpoint is missing"):
        config.load(given)
    own = given | {"OTPREPORT_ACCOUNTS__MAIN__ENDPOINT": "https://q1w2e3.api.infobip.example"}
    assert config.load(own).accounts["main"].rate_limit == 50
