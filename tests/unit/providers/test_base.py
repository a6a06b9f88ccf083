"""The types that all providers share."""

import pytest

from providers import Result, SignedRequest, reported_at_ms
from providers.base import UnreportableError, opened, required_at_ms, segment, utc
from tests.support.provider_samples import event

NOW = 1_700_000_000.5


@pytest.mark.parametrize(
    ("occurred", "sent", "unit_ms", "reported"),
    [
        (1_699_999_000_123, None, 1, 1_699_999_000_123),
        (1_699_999_000_123, None, 1000, 1_699_999_000_000),
        (1_699_999_999_500, None, 1, 1_699_999_999_500),
        (1_699_999_999_501, None, 1, 1_699_999_999_500),
        (1_800_000_000_000, None, 1, 1_699_999_999_500),
        (1_800_000_000_000, None, 1000, 1_699_999_999_000),
        (1_699_999_000_123, 1_699_999_000_122, 1, 1_699_999_000_123),
        (1_699_999_000_123, 1_699_999_000_123, 1, None),
        (1_699_999_000_123, 1_699_999_000_124, 1, None),
        (1_699_999_000_999, 1_699_999_000_100, 1000, None),
        (1_699_999_001_000, 1_699_999_000_999, 1000, 1_699_999_001_000),
        (1_800_000_000_000, 1_699_999_999_500, 1, None),
    ],
)
def test_reported_time(occurred: int, sent: int | None, unit_ms: int, reported: int | None) -> None:
    """The time is at least a second past, whole in the provider's unit, and after the sending or left out."""
    fields = {"occurred_at": occurred} if sent is None else {"occurred_at": occurred, "sent_at": sent}
    assert reported_at_ms(event(**fields), NOW, unit_ms=unit_ms) == reported


@pytest.mark.parametrize(
    "name", ["Authorization", "X-TC-Token", "x-acs-security-token", "X-Api-Key", "Cookie", "client-secret"]
)
def test_a_requests_repr_hides_credentials_and_event(name: str) -> None:
    """What names a credential is starred, the query and the body are not shown; the rest is."""
    request = SignedRequest(
        "https://sms.example/?MessageId=900", ((name, "hunter2"), ("X-TC-Action", "Report")), b"body"
    )
    assert repr(request) == (
        f"SignedRequest(POST https://sms.example/, {{{name}: ***, X-TC-Action: Report}}, 4 bytes)"
    )


@pytest.mark.parametrize(
    ("occurred", "sent", "unit_ms", "reported"),
    [
        (1_699_999_000_123, None, 1000, 1_699_999_000_000),
        (1_699_999_000_123, 1_699_999_000_123, 1, 1_699_999_001_123),
        (1_699_999_000_999, 1_699_999_000_100, 1000, 1_699_999_001_000),
        (1_800_000_000_000, 1_699_999_999_500, 1, 1_700_000_000_500),
        (1_800_000_000_000, 1_800_000_000_000, 1000, 1_700_000_000_000),
    ],
)
def test_a_time_that_may_not_be_left_out(
    occurred: int, sent: int | None, unit_ms: int, reported: int
) -> None:
    """Where the entry is not after the sending, it is a second after it, but never in the future."""
    fields = {"occurred_at": occurred} if sent is None else {"occurred_at": occurred, "sent_at": sent}
    assert required_at_ms(event(**fields), NOW, unit_ms=unit_ms) == reported


@pytest.mark.parametrize(
    ("at_ms", "written"),
    [
        (1_699_999_990_123, "2023-11-14T22:13:10.123Z"),
        (1_699_999_990_007, "2023-11-14T22:13:10.007Z"),
        (1_700_000_000_000, "2023-11-14T22:13:20.000Z"),
        (0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_written_in_utc(at_ms: int, written: str) -> None:
    """With milliseconds, whatever the machine's zone."""
    assert utc(at_ms) == written


@pytest.mark.parametrize("text", [".", "..", ""])
def test_a_segment_is_never_removed(text: str) -> None:
    """What a client or a server would take out of a path is refused; what looks like it is encoded."""
    with pytest.raises(UnreportableError):
        segment(text)
    assert segment(f"{text}/") == f"{text}%2F"
    assert segment("%2E~é...") == "%252E~%C3%A9..."


def test_no_secret_is_no_text() -> None:
    """An absent optional secret opens to nothing."""
    assert opened(None) == ""


def test_results_are_their_lower_case_names() -> None:
    """The values stand in metrics and records."""
    assert [str(result) for result in Result] == [result.name.lower() for result in Result]
