"""Vonage: statuses for codes, a time that is always there, and two ways to sign in."""

from urllib.parse import parse_qsl

import pytest
from pydantic import ValidationError

from providers import Answer, Result
from providers.vonage import CODES, VonageOptions
from tests.support.provider_samples import KEY, NONCE, NOW, SAMPLES, TEXT, event

SAMPLE, SIGNED = SAMPLES["vonage"], SAMPLES["vonage-signed"]
EXPECTED = {
    "recorded": Result.DELIVERED,
    "401": Result.ACCOUNT,
    "402": Result.ACCOUNT,
    "420": Result.DOUBTFUL,
    "422": Result.DOUBTFUL,
    "423": Result.DOUBTFUL,
    "429": Result.THROTTLED,
    "500": Result.UNKNOWN,
    "502": Result.UNKNOWN,
    "503": Result.TRANSIENT,
    "504": Result.UNKNOWN,
}


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less; a gateway's 502 leaves open what became of the report."""
    assert CODES.rows == EXPECTED


@pytest.mark.parametrize(("code", "result"), [pair for pair in EXPECTED.items() if pair[0].isdigit()])
def test_each_documented_status_has_its_class(code: str, result: Result) -> None:
    """The status is the code, and a short text its message."""
    outcome = SAMPLE.provider().outcome(Answer(int(code), TEXT, b"said"), event())
    assert (outcome.result, outcome.code, outcome.message) == (result, code, "said")


@pytest.mark.parametrize("body", [b"ok", b"OK\n", b"OK.", b"true", b"{}", b" "])
def test_success_is_ok_or_nothing(body: bytes) -> None:
    """Any other text of a 200 is not what is documented."""
    assert SAMPLE.provider().outcome(Answer(200, TEXT, body), event()).result is Result.UNKNOWN


def test_the_time_is_a_second_after_the_sending_at_least() -> None:
    """It may not be left out: a clock that is behind the sender's must not put it before the sending."""
    for sent_ago_ms, written in ((30_000, "22:13:10"), (10_127, "22:13:11"), (500, "22:13:20")):
        sent = event(sent_at=int(NOW * 1000) - sent_ago_ms)
        form = dict(parse_qsl(SAMPLE.provider().request(sent, now=NOW, nonce=NONCE).body.decode()))
        assert form["timestamp"] == f"2023-11-14 {written}"


def test_a_signed_request_sends_no_secret() -> None:
    """With a signature secret there is no password, even where one is given."""
    request = SIGNED.provider(api_secret="unusedSecret").request(event(), now=NOW, nonce=NONCE)
    assert [name for name, _ in request.headers] == ["content-type"]
    form = dict(parse_qsl(request.body.decode()))
    assert form.keys() == {"message-id", "delivered", "timestamp", "api_key", "sig"}
    assert not {KEY, "unusedSecret"} & set(form.values())


def test_a_secret_is_needed() -> None:
    """One of the two has to be there, and the error says so."""
    with pytest.raises(ValidationError, match="api_secret is missing, or signature_secret"):
        VonageOptions.model_validate({"api_key": "abcd1234"})
