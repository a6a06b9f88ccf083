"""What the operator typed, read as which dead letters are meant."""

import pytest

from tasks.dead_letters.filter import Filter
from tasks.dead_letters.letter import Letter
from worker.cli.errors import WRONG, CommandError
from worker.cli.selection import Query, read_when

NOW = 1_777_636_800_000  # 2026-05-01T12:00:00Z
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2h", NOW - 2 * HOUR),
        ("30m", NOW - HOUR // 2),
        ("1.5h", NOW - 3 * HOUR // 2),
        ("7d", NOW - 7 * 24 * HOUR),
        ("2026-05-01T11:00", NOW - HOUR),
        ("2026-05-01T11:00:00Z", NOW - HOUR),
        ("2026-05-01T13:00+02:00", NOW - HOUR),
        ("2026-05-01", NOW - 12 * HOUR),
        ("20260501", NOW - 12 * HOUR),
        ("", None),
    ],
)
def test_a_time_is_read_as_it_is_meant(text: str, meant: int | None) -> None:
    """A duration is so long ago, a time without a zone is UTC, nothing is no bound."""
    assert read_when("--since", text, NOW) == meant


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026",
        "30",
        "2 weeks",
        "2026-13-01",
        "-",
        "h",
        "-2h",
        "99999d",
        "9" * 300 + "d",
        "9" * 400 + "d",
        "-" + "9" * 400 + "d",
    ],
)
def test_what_is_no_time_stops_with_the_mend(text: str) -> None:
    """A bare number may be a year or seconds, so it is refused as any other nonsense is."""
    with pytest.raises(CommandError, match=r"--until .* is not a time: write how long ago") as stopped:
        read_when("--until", text, NOW)
    assert stopped.value.status == WRONG


def test_a_query_becomes_a_filter() -> None:
    """Every option arrives in the filter."""
    query = Query(["tencent"], ["permanent"], ["Failed*"], "2h", "1h", in_doubt=False)
    assert query.filter(NOW) == Filter(
        frozenset({"tencent"}),
        frozenset({"permanent"}),
        frozenset({"Failed*"}),
        NOW - 2 * HOUR,
        NOW - HOUR,
        in_doubt=False,
    )
    assert Query().filter(NOW).is_open
    assert not query.filter(NOW).is_open


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(reasons=["wrong"]), "--reason wrong is unknown: use "),
        (Query(since="1h", until="2h"), "--since is later than --until"),
    ],
)
def test_a_senseless_query_is_refused(query: Query, said: str) -> None:
    """What can never match is wrong use, not an empty answer."""
    with pytest.raises(CommandError, match=said):
        query.filter(NOW)


def letter(*, reason: str = "permanent", code: str = "FailedOperation.X", in_doubt: bool = False) -> Letter:
    """Return a letter as the filter sees it."""
    return Letter("tencent:w:1", "tencent", NOW, reason, in_doubt, {"reason": reason, "code": code})


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Filter(), True),
        (Filter(reasons=frozenset({"permanent", "expired"})), True),
        (Filter(reasons=frozenset({"expired"})), False),
        (Filter(codes=frozenset({"FailedOperation.X"})), True),
        (Filter(codes=frozenset({"FailedOperation*", "Y"})), True),
        (Filter(codes=frozenset({"failedoperation*"})), False),
        (Filter(in_doubt=False), True),
        (Filter(in_doubt=True), False),
        (Filter(reasons=frozenset({"permanent"}), in_doubt=True), False),
    ],
)
def test_a_filter_asks_for_everything_at_once(wanted: Filter, matches: bool) -> None:
    """Each option narrows; several values of one option widen."""
    assert wanted.matches(letter()) is matches


def test_only_a_filter_on_the_story_reads_stories() -> None:
    """Accounts and times are answered by the index alone."""
    assert not Filter(accounts=frozenset({"a"}), since_ms=1, until_ms=2).reads_stories
    assert Filter(codes=frozenset({"X"})).reads_stories
    assert Filter(in_doubt=False).reads_stories
