from collections import deque

import pytest

from tasks.delivery import Delivery
from tasks.limiter.admission import AT_ONCE, FEW, HORIZON, LONG_TURN, MARGIN, TURN, Line, RateGroup
from tasks.shared import NO_SLOT
from tests.support.leased import delivery, event

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


def full(line: Line) -> Line:
    """Return the line with more events than it can ask for."""
    line.waiting = deque[Delivery](delivery(event(str(number))) for number in range(AT_ONCE))
    return line


def asked(line: Line, now: float) -> int:
    """Return how many events a call at that moment asks for."""
    line.not_before = now
    return len(line.take(now, AT_ONCE))


@pytest.mark.parametrize("later", [0.01, 0.02, 0.035])
def test_who_is_alone_asks_for_the_slots_of_the_time_since(later: float) -> None:
    """All of before are taken: asking for more loads Redis. A little more covers a call that took its time."""
    line = full(Line(GROUP))
    first = asked(line, NOW)
    assert first > GROUP.soon(HORIZON)
    line.learn([*range(first - 1), NO_SLOT - 1], NOW, LONG_TURN)
    number = asked(full(line), NOW + later)
    assert GROUP.soon(later) < number <= GROUP.soon(later + MARGIN) + 3


def test_who_gets_all_it_asks_for_asks_for_the_whole_horizon() -> None:
    """There may be more than the time since has made: the rate was raised, or another worker has gone."""
    line = full(Line(GROUP))
    line.learn([*range(asked(line, NOW) - 1), NO_SLOT - 1], NOW, LONG_TURN)
    number = asked(full(line), NOW + 0.02)
    line.learn(range(number), NOW + 0.02, LONG_TURN)
    assert asked(full(line), NOW + 0.03) > GROUP.soon(HORIZON)


def test_who_shares_the_slots_does_not_count_on_the_time_since() -> None:
    """Others had some of them: it asks for what it got the last time, and a little more."""
    line = full(Line(GROUP))
    asked(line, NOW)
    line.learn([*range(FEW + 2), NO_SLOT - 1], NOW, LONG_TURN)
    assert asked(full(line), NOW + 0.001) == line.likely > FEW + 2
