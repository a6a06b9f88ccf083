"""The table of codes."""

import pytest

from providers import Result
from providers.codes import CodeTable
from providers.masking import Mask

TABLE = CodeTable(
    {
        "Quota": Result.THROTTLED,
        "Quota.*": Result.DOUBTFUL,
        "Quota.Deep.*": Result.ACCOUNT,
        "Quota.Deep.Exact": Result.PERMANENT,
        "Missing*": Result.CLOCK,
    }
)


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("Quota", Result.THROTTLED),
        ("QUOTA", Result.THROTTLED),
        ("Quota.Any", Result.DOUBTFUL),
        ("Quota.", Result.DOUBTFUL),
        ("Quota.Deep", Result.DOUBTFUL),
        ("Quota.Deep.Any", Result.ACCOUNT),
        ("quota.deep.exact", Result.PERMANENT),
        ("MissingThis", Result.CLOCK),
        ("Quotas", None),
        ("Miss", None),
        ("Quota.*", Result.DOUBTFUL),
        ("", None),
    ],
)
def test_the_most_exact_row_wins(code: str, result: Result | None) -> None:
    """An exact row beats a family, the longer family the shorter, and what is not listed is None."""
    assert TABLE.result(code) is result


def test_a_mask_cuts_after_masking() -> None:
    """A cut through a secret would leave half of it: the mask comes first."""
    text = "x" * 7 + "secret/1"
    assert Mask("secret/1")(text, 10) == "xxxxxxx***"
    assert Mask()(text, 10) == "xxxxxxxsec"


def test_a_mask_finds_the_longer_secret_first() -> None:
    """One secret may hold another."""
    assert Mask("abc", "abcdef", "")("abcdef abc a%2Fb", 99) == "*** *** a%2Fb"
