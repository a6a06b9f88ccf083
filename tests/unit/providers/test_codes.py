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


def test_a_text_that_is_a_secret_is_masked() -> None:
    """A text as long as the shortest secret may be that, one that is shorter is none."""
    mask = Mask("secret/1", "longer than that")
    assert [mask(text, 99) for text in ("secret/1", "secret/")] == ["***", "secret/"]


def test_a_mask_finds_both_percent_encodings() -> None:
    """A server may write the escapes in either case; the letters of the secret stay as they are."""
    mask = Mask("tOk/en+")
    assert mask("tOk%2Fen%2B tOk%2fen%2b tOk/en+", 99) == "*** *** ***"
    assert mask("tok%2fen%2b", 99) == "tok%2fen%2b"


def test_a_mask_shortens_the_key_id() -> None:
    """Enough is left to tell one key from another; a short one is not shown at all."""
    assert Mask("s", key_id="LTAI5tEXAMPLE0001")("no LTAI5tEXAMPLE0001", 99) == "no LTAI...0001"
    assert Mask(key_id="short")("no short", 99) == "no ********"
    assert Mask("s")("no LTAI5tEXAMPLE0001", 99) == "no LTAI5tEXAMPLE0001"
