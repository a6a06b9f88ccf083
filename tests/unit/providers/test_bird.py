"""Bird: statuses for codes, and the two forms of success."""

import json

import pytest

from providers import Answer, Result
from providers.bird import CODES
from tests.support.provider_samples import EMPTY, JSON, NONCE, NOW, SAMPLES, event

SAMPLE = SAMPLES["bird"]
EXPECTED = {
    "recorded": Result.DELIVERED,
    "400": Result.DOUBTFUL,
    "401": Result.ACCOUNT,
    "403": Result.ACCOUNT,
    "404": Result.DOUBTFUL,
    "422": Result.DOUBTFUL,
    "429": Result.THROTTLED,
    "500": Result.UNKNOWN,
    "502": Result.UNKNOWN,
    "503": Result.TRANSIENT,
    "504": Result.UNKNOWN,
}


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert CODES.rows == EXPECTED


@pytest.mark.parametrize(("code", "result"), [pair for pair in EXPECTED.items() if pair[0].isdigit()])
def test_each_status_has_its_class(code: str, result: Result) -> None:
    """The status is the code, and a short text its message."""
    outcome = SAMPLE.provider().outcome(Answer(int(code), JSON, b'{"message":"m"}'), event())
    assert (outcome.result, outcome.code) == (result, code)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_says_nothing_or_what_was_sent(status: int) -> None:
    """What Bird answers is not documented, so anything else is in doubt."""
    for body, verified, delivered in (
        (b"", True, True),
        (b"", False, True),
        (b'{"id":"x","status":"converted"}', True, True),
        (b'{"id":"x","status":"not_converted"}', False, True),
        (b'{"id":"x","status":"not_converted"}', True, False),
        (b'{"id":"x"}', True, False),
        (b"converted", True, False),
    ):
        outcome = SAMPLE.provider().outcome(Answer(status, JSON | EMPTY, body), event(verified=verified))
        assert outcome.result is (Result.DELIVERED if delivered else Result.UNKNOWN), body


def test_a_report_names_no_method() -> None:
    """The page doesn't say what the way of entering is called, so it is left out."""
    request = SAMPLE.provider().request(event(), now=NOW, nonce=NONCE)
    assert json.loads(request.body).keys() == {"type", "status", "timestamp"}
