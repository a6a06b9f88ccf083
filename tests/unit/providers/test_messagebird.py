"""MessageBird: its codes, and the two forms of success."""

import json

import pytest

from providers import Answer, Result
from providers.messagebird import CODES
from providers.proof import Standing, weigh
from tests.support.provider_samples import EMPTY, JSON, SAMPLES, event

SAMPLE = SAMPLES["messagebird"]
EXPECTED = {
    "recorded": Result.DELIVERED,
    "429": Result.THROTTLED,
    "2": Result.ACCOUNT,
    "25": Result.ACCOUNT,
    "98": Result.ACCOUNT,
    "99": Result.UNKNOWN,
    "20": Result.DOUBTFUL,
    "9": Result.PERMANENT,
    "10": Result.PERMANENT,
    "21": Result.PERMANENT,
}


def test_the_table_is_that_of_the_facts() -> None:
    """No row more, none less."""
    assert CODES.rows == EXPECTED


@pytest.mark.parametrize(("code", "result"), [pair for pair in EXPECTED.items() if pair[0].isdigit()])
def test_each_code_has_its_class(code: str, result: Result) -> None:
    """A code counts as a number and as a text."""
    for given in (int(code), code):
        body = {"errors": [{"code": given, "description": "m", "parameter": "access_key"}]}
        outcome = SAMPLE.provider().outcome(Answer(401, JSON, json.dumps(body).encode()), event())
        assert (outcome.result, outcome.code, outcome.message) == (result, code, "m")


@pytest.mark.parametrize("status", [200, 201, 204])
def test_success_is_nothing_or_names_the_message(status: int) -> None:
    """What MessageBird answers is not documented, so anything else is in doubt."""
    for body, delivered in (
        (b"", True),
        (b'{"id":"5000:104571"}', True),
        (b'{"id":"5000:104572"}', False),
        (b'{"id":"5000:104571","errors":[]}', False),
        (b'{"success":true}', False),
        (b"OK", False),
    ):
        outcome = SAMPLE.provider().outcome(Answer(status, JSON | EMPTY, body), event())
        assert outcome.result is (Result.DELIVERED if delivered else Result.UNKNOWN), body


def test_only_a_wrong_key_blames_the_key() -> None:
    """The other codes that begin with the same digit do not."""
    provider = SAMPLE.provider()
    for code, standing in (("2", Standing.REFUSED), ("25", Standing.BARRED), ("20", Standing.ACCEPTED)):
        assert weigh(provider.probed(SAMPLE.gateway(code)), provider.key_faults).standing is standing
