"""Counting dead letters in bounded memory."""

from collections.abc import Iterator

from tasks.dead_letters.letter import Letter
from worker.cli.stats import Stats

HOUR = 3_600_000


def letters(count: int) -> Iterator[Letter]:
    """Yield letters, each with a code of its own."""
    for number in range(count):
        story = {"reason": "permanent", "code": f"C{number}"}
        yield Letter(f"a:w:{number}", "a", number * HOUR, "permanent", number % 2 == 0, story)


def test_no_more_groups_than_are_told_apart() -> None:
    """However many codes there are, the memory is bounded and every letter is counted."""
    stats = Stats.of(letters(1000), ("account", "code"), most=10)
    assert (len(stats.groups), stats.ungrouped, stats.total.letters) == (10, 990, 1000)
    assert (stats.total.in_doubt, stats.total.oldest_ms, stats.total.newest_ms) == (500, 0, 999 * HOUR)


def test_letters_are_not_kept() -> None:
    """A letter that was counted can be forgotten: only one is there at a time."""
    alive = 0

    class Counted(Letter):
        """A letter that knows how many there are."""

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def stream() -> Iterator[Letter]:
        nonlocal alive
        for number in range(100):
            alive += 1
            assert alive <= 2
            yield Counted(f"a:w:{number}", "a", 0, "permanent", False, {"code": "C"})

    assert Stats.of(stream(), ("code",)).total.letters == 100


def test_the_largest_first_or_hour_by_hour() -> None:
    """Without the hour by size, with it by time."""
    some = [Letter(f"a:w:{n}", "a", n // 3 * HOUR, "x", False, {"code": "B" if n else "A"}) for n in range(5)]
    assert [key for key, _ in Stats.of(some, ("code",)).groups] == [("B",), ("A",)]
    by_hour = Stats.of(some, ("code", "hour")).groups
    assert [key for key, _ in by_hour] == [
        ("B", "1970-01-01T00:00Z"),
        ("A", "1970-01-01T00:00Z"),
        ("B", "1970-01-01T01:00Z"),
    ]
