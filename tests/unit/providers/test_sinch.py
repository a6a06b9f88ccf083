"""Sinch: statuses and codes, success without a byte, and the region in the endpoint."""

import json

import pytest
from pydantic import ValidationError

import config
from providers import Answer, Result
from providers.sinch import CODES, SinchOptions
from tests.support.provider_samples import JSON, KEY, NONCE, NOW, SAMPLES, event

SAMPLE = SAMPLES["sinch"]
EXPECTED = {
    Result.DELIVERED: "recorded",
    Result.THROTTLED: "429",
    Result.TRANSIENT: "500 503",
    Result.ACCOUNT: "401 405 415 syntax_invalid_json",
    Result.DOUBTFUL: "404",
    Result.PERMANENT: "syntax_constraint_violation syntax_invalid_parameter_format "
    "missing_callback_url unknown_campaign unknown_group",
}
PAIRS = [(code, result) for result, codes in EXPECTED.items() for code in codes.split()]


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert dict(PAIRS) == CODES.rows


@pytest.mark.parametrize(("code", "result"), [pair for pair in PAIRS if "_" in pair[0]])
@pytest.mark.parametrize("status", [400, 403])
def test_each_documented_code_has_its_class(code: str, result: Result, status: int) -> None:
    """A 400 and a 403 have a code and a text."""
    answer = Answer(status, JSON, json.dumps({"code": code, "text": "m"}).encode())
    outcome = SAMPLE.provider().outcome(answer, event())
    assert (outcome.result, outcome.code, outcome.message) == (result, code, "m")


@pytest.mark.parametrize(("code", "result"), [pair for pair in PAIRS if pair[0].isdigit()])
def test_each_documented_status_has_its_class(code: str, result: Result) -> None:
    """Others have no body, or one that says nothing more."""
    for body in (b"", b"said", b"{}"):
        outcome = SAMPLE.provider().outcome(Answer(int(code), {}, body), event())
        assert (outcome.result, outcome.code) == (result, code)


def test_a_401_is_about_the_keys_whatever_it_says() -> None:
    """With an unlisted code it would end in dead letters, event by event, in place of stopping the account."""
    answer = Answer(401, JSON, b'{"code":"unauthorized","text":"m"}')
    assert SAMPLE.provider().outcome(answer, event()).result is Result.ACCOUNT


@pytest.mark.parametrize("body", [b"", b'{"code":"another","text":"m"}'])
def test_any_other_403_is_not_final(body: bytes) -> None:
    """With a code it may be that the batch is not known yet; without one it may be anybody's."""
    outcome = SAMPLE.provider().outcome(Answer(403, JSON, body), event())
    assert outcome.result is (Result.DOUBTFUL if body else Result.UNKNOWN)


@pytest.mark.parametrize("body", [b" ", b"\n", b"{}", b'""', b"null", b"OK", b'{"code":"recorded"}', b"\0"])
def test_success_has_no_byte(body: bytes) -> None:
    """Anything in a 202 is not what is documented."""
    assert SAMPLE.provider().outcome(Answer(202, JSON, body), event()).result is Result.UNKNOWN


@pytest.mark.parametrize("status", [200, 201, 203, 204, 205, 206, 302, 304, 400, 403, 410, 502, 504])
def test_success_is_a_202(status: int) -> None:
    """No other status without a body is success, and these mean nothing at all."""
    assert SAMPLE.provider().outcome(Answer(status, {}, b""), event()).result is Result.UNKNOWN


def test_a_slash_of_the_id_stays_in_the_id() -> None:
    """The official SDK sends it as it is, which names another path."""
    request = SAMPLE.provider().request(event(message_id="a/../b"), now=NOW, nonce=NONCE)
    assert request.target()[1].endswith("/batches/a%2F..%2Fb/delivery_feedback")


@pytest.mark.parametrize("region", ["us", "eu", "au", "br", "ca"])
def test_a_region_has_its_host(region: str) -> None:
    """The endpoint follows the region, unless one is given."""
    account = {"provider": "sinch", "service_plan_id": "p", "api_token": KEY, "region": region}
    given = {f"OTPREPORT_ACCOUNTS__MAIN__{name.upper()}": value for name, value in account.items()}
    redis = {"OTPREPORT_REDIS_URL": "redis://127.0.0.1"}
    assert config.load(given | redis).accounts["main"].endpoint == f"https://{region}.sms.api.sinch.com"


def test_another_region_is_refused() -> None:
    """It would be a host that Sinch does not have, or somebody else's."""
    with pytest.raises(ValidationError, match="region"):
        SinchOptions.model_validate({"service_plan_id": "p", "api_token": KEY, "region": "evil.example/"})


@pytest.mark.parametrize("given", [".", "..", "a/b", "../x", "a%2Fb", "é", "x" * 129])
def test_a_service_plan_has_the_form_of_an_id(given: str) -> None:
    """It stands in the path, where it must not lead elsewhere."""
    with pytest.raises(ValidationError, match="service_plan_id"):
        SinchOptions.model_validate({"service_plan_id": given, "api_token": KEY})
