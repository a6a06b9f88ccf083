"""Telesign: its codes, its two ways to sign in, and where an answer says what."""

import json

import pytest
from pydantic import ValidationError

from providers import Answer, Result
from providers.telesign import CODES, TelesignOptions
from tests.support.provider_samples import JSON, NONCE, NOW, SAMPLES, event

SAMPLE, BASIC = SAMPLES["telesign"], SAMPLES["telesign-basic"]
EXPECTED = {
    Result.DELIVERED: "1900",
    Result.THROTTLED: "429",
    Result.TRANSIENT: "-90001",
    Result.CLOCK: "-30010",
    Result.UNKNOWN: "-30012",
    Result.ACCOUNT: "-3000* -30011",
    Result.DOUBTFUL: "-30013 -10001",
    Result.PERMANENT: "-10001/400",
}
KEYS = [f"-3000{digit}" for digit in range(10)]
PAIRS = [
    *((code, result) for result, codes in EXPECTED.items() for code in codes.split() if code[-3:].isdigit()),
    *((code, Result.ACCOUNT) for code in KEYS),
]


def judged(status: int, body: object) -> Result:
    """Return the class of an answer in JSON."""
    return SAMPLE.provider().outcome(Answer(status, JSON, json.dumps(body).encode()), event()).result


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert CODES.rows == {code: result for result, codes in EXPECTED.items() for code in codes.split()}


@pytest.mark.parametrize(("code", "result"), [pair for pair in PAIRS if pair[0].lstrip("-").isdigit()])
def test_each_documented_code_has_its_class(code: str, result: Result) -> None:
    """A code counts as a number and as a text, in each of the places that are documented for it."""
    for said in (int(code), code):
        error = {"code": said, "description": "m"}
        for body in ({"errors": [error]}, {"status": {"code": 500}, "error": error}, error):
            expected = Result.UNKNOWN if code == "1900" else result  # of the report, and not of the request
            assert judged(401, body) is expected
        status = 200 if code == "1900" else 401
        assert judged(status, {"errors": [], "status": error}) is result


@pytest.mark.parametrize(
    ("status", "result"), [(400, Result.PERMANENT), (404, Result.DOUBTFUL), (401, Result.DOUBTFUL)]
)
def test_the_status_decides_what_10001_means(status: int, result: Result) -> None:
    """It is an invalid parameter with 400 alone; what is not found may come to be."""
    assert judged(status, {"errors": [{"code": -10001, "description": "m"}]}) is result


def test_an_error_counts_before_the_status() -> None:
    """Success with an error beside it is none, nor is one with errors that can't be read."""
    status = {"code": 1900, "description": "m", "updated_on": "x"}
    assert judged(200, {"errors": [], "status": status}) is Result.DELIVERED
    assert judged(200, {"status": status}) is Result.DELIVERED
    assert judged(200, {"errors": [{"code": -30013}], "status": status}) is Result.DOUBTFUL
    assert judged(200, {"error": {"code": -90001}, "status": status}) is Result.TRANSIENT
    for errors in ("[[]]", '["-30013"]', '{"x": 1}', '"none"', "[{}]"):
        body = {"errors": json.loads(errors), "status": status}
        assert judged(200, body) is Result.UNKNOWN, errors


@pytest.mark.parametrize("code", [0, 1901, 290, -20001, True, 1900.0, [1900]])
def test_other_codes_prove_nothing(code: object) -> None:
    """What the page doesn't list neither delivers nor condemns; what is no whole number is none."""
    expected = Result.DOUBTFUL if type(code) is int else Result.UNKNOWN
    assert judged(200, {"status": {"code": code}}) is expected
    assert judged(400, {"errors": [{"code": code}]}) is expected


def test_basic_sends_the_key_itself() -> None:
    """Nothing is signed then; all else is as in a signed request."""
    signed, plain = (
        dict(sample.provider().request(event(), now=NOW, nonce=NONCE).headers) for sample in (SAMPLE, BASIC)
    )
    assert (signed["x-ts-auth-method"], plain["x-ts-auth-method"]) == ("HMAC-SHA256", "Basic")
    assert plain["authorization"].startswith("Basic ")
    assert {name for name in signed if signed[name] != plain[name]} == {"authorization", "x-ts-auth-method"}


@pytest.mark.parametrize("key", ["RVhBT", "not_base64-url"])
def test_a_key_is_base64(key: str) -> None:
    """A key of another kind is found at once, and not shown."""
    with pytest.raises(ValidationError, match="api_key") as refused:
        TelesignOptions.model_validate({"customer_id": "c", "api_key": key})
    assert key not in str(refused.value)
