"""What a peer's producer wrote, out of Redis' append-only file."""

from benchmarks.peers.recording import MARK, pieces


def command(*words: str) -> bytes:
    """Return a command as Redis logs it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)


def test_each_event_is_what_stands_between_two_marks() -> None:
    """All that a producer wrote for an event is played back with it, and no mark."""
    log = (
        command("SELECT", "0")
        + command("SET", MARK, "0")
        + command("MULTI")
        + command("LPUSH", "q", "a\r\n*")
    )
    log += command("EXEC") + command("SET", MARK, "1") + command("XADD", "s", "1-0", "d", "b")
    log += command("SET", MARK, "2")
    assert pieces(log) == [
        command("MULTI") + command("LPUSH", "q", "a\r\n*") + command("EXEC"),
        command("XADD", "s", "1-0", "d", "b"),
    ]


def test_what_was_written_before_the_first_event_comes_first() -> None:
    """A group that a producer makes when it starts is made before the first event."""
    log = (
        command("XGROUP", "CREATE")
        + command("SET", MARK, "0")
        + command("XADD", "s")
        + command("SET", MARK, "1")
    )
    assert pieces(log) == [command("XGROUP", "CREATE") + command("XADD", "s")]
