import pytest

from providers import Answer
from tasks.wall import WallClock

LOCAL = 1_767_225_600.0


def dated(date: str) -> Answer:
    """Return an answer with a `Date`."""
    return Answer(200, {"date": date}, b"")


def test_a_correction_holds_for_one_account() -> None:
    """The provider's time is taken over for the account that asked, and for no other."""
    wall = WallClock(lambda: LOCAL)
    assert wall.correct("a", dated("Thu, 01 Jan 2026 00:10:00 GMT"))
    assert wall.now("a") == LOCAL + 600
    assert wall.now("b") == LOCAL


def test_time_goes_on_after_a_correction() -> None:
    """A correction is an offset: the clock behind it goes on."""
    local = [LOCAL]
    wall = WallClock(lambda: local[0])
    wall.correct("a", dated("Thu, 01 Jan 2026 00:10:00 GMT"))
    local[0] += 5
    assert wall.now("a") == LOCAL + 605


@pytest.mark.parametrize(("ahead", "counts"), [(-90_000, -90_000), (90_000, 0), (0, 0)])
def test_redis_clock_counts_where_it_is_behind(ahead: int, counts: int) -> None:
    """Of two clocks the earlier one says what is too old, or too late; what is signed goes by our own."""
    wall = WallClock(lambda: LOCAL)
    wall.see_redis(round((LOCAL + ahead) * 1e6))
    assert wall.redis_ahead == ahead
    assert wall.earliest("a") == LOCAL + counts
    assert wall.earlier_ms() == (LOCAL + counts) * 1000
    assert wall.now("a") == LOCAL


def test_the_last_correction_counts() -> None:
    """A second correction replaces the first instead of adding to it."""
    wall = WallClock(lambda: LOCAL)
    wall.correct("a", dated("Thu, 01 Jan 2026 00:10:00 GMT"))
    wall.correct("a", dated("Thu, 01 Jan 2026 00:00:01 GMT"))
    assert wall.now("a") == LOCAL + 1


def test_a_date_without_a_zone_is_utc() -> None:
    """What a date leaves out is not this machine's zone."""
    wall = WallClock(lambda: LOCAL)
    assert wall.correct("a", dated("Thu, 01 Jan 2026 00:10:00 -0000"))
    assert wall.now("a") == LOCAL + 600


@pytest.mark.parametrize(
    "date",
    [
        "",
        "soon",
        "2026-01-01T00:10:00Z",
        "Thu, 99 Jan 2026 00:10:00 GMT",
        "Thu, 01 Jan 99999 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 2026 00:10:00 +99999999999999999999",
        "Thu, 01 Jan 99999999999999999999 00:00:00 GMT",
    ],
)
def test_a_date_that_says_nothing_changes_nothing(date: str) -> None:
    """An unreadable date is no correction, nor is one that can't be now; it raises nothing."""
    wall = WallClock(lambda: LOCAL)
    assert not wall.correct("a", dated(date))
    assert wall.now("a") == LOCAL


def test_an_answer_without_a_date_changes_nothing() -> None:
    """No `Date`, no correction."""
    assert not WallClock(lambda: LOCAL).correct("a", Answer(200, {}, b""))


def test_the_correction_can_be_seen() -> None:
    """What an operator is told of a clock is what the clock was corrected by."""
    wall = WallClock(lambda: LOCAL)
    assert wall.offset("a") == 0
    wall.correct("a", dated("Thu, 01 Jan 2026 00:10:00 GMT"))
    assert (wall.offset("a"), wall.offset("b")) == (600, 0)


@pytest.mark.parametrize(("date", "behind"), [("00:10:00", 0.0), ("23:50:00", 600.0)])
def test_ages_are_told_by_the_clock_that_is_behind(date: str, behind: float) -> None:
    """Neither a provider whose clock is ahead nor our own makes an event older than it is."""
    wall = WallClock(lambda: LOCAL)
    wall.correct("a", dated(f"{'Thu, 01 Jan 2026' if behind == 0 else 'Wed, 31 Dec 2025'} {date} GMT"))
    assert wall.earliest("a") == LOCAL - behind
