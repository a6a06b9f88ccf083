from tasks.limiter.admission import FEW, LONG_TURN, TURN, Line, RateGroup
from tasks.shared import NO_SLOT

GROUP = RateGroup("g", 1000)
NOW = 100.0


def after(granted: int) -> Line:
    """Return a line after a call that got so many slots, and no more."""
    line = Line(GROUP)
    line.learn([*range(granted), NO_SLOT - 1], NOW, LONG_TURN)
    return line


def test_who_gets_all_slots_asks_less_often() -> None:
    """A worker that gets all slots of a turn waits for a longer one, and then asks for all slots of that one."""
    whole = GROUP.soon(TURN) + 1
    line = after(whole)
    assert line.not_before == NOW + LONG_TURN
    assert line.likely > GROUP.soon(LONG_TURN)


def test_who_shares_the_slots_asks_again_soon() -> None:
    """Where others take slots, too, the next call is one turn away: they would get what this one leaves longer."""
    for granted in (FEW, GROUP.soon(TURN) // 2, GROUP.soon(TURN) - 1):
        line = after(granted)
        assert NOW + TURN <= line.not_before < NOW + LONG_TURN
        assert granted < line.likely < GROUP.soon(LONG_TURN)
