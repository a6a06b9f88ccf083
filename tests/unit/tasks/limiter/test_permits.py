from tasks.limiter.admission import RateGroup
from tasks.limiter.permits import GIVE_BACK, Permits


def permits(counted: int, *, most: int = 100, short: bool = True) -> Permits:
    """Return the permits of a worker that Redis counts as having so many open, all of which are."""
    made = Permits(most, on_end=lambda: None)
    made.open = counted
    made.note(counted, 10.0, short=short)
    return made


def ended(made: Permits, number: int) -> Permits:
    """Let requests end."""
    for _ in range(number):
        made.end()
    return made


def test_redis_hears_of_what_ended() -> None:
    """Not at once, since the next call would say it anyway, but soon; nothing is owed where nothing ended."""
    assert not permits(3).owes(20.0)
    assert not ended(permits(3), 1).owes(10.0)
    assert ended(permits(3), 1).owes(10.0 + GIVE_BACK)


def test_who_wants_more_asks_as_permits_become_free() -> None:
    """One of few at once, of many a fiftieth together; not at all where no permit was wanting."""
    assert not permits(1).may_ask
    assert ended(permits(1), 1).may_ask
    assert not ended(permits(100), 1).may_ask
    assert ended(permits(100), 2).may_ask
    assert not ended(permits(1, short=False), 1).may_ask


def test_a_call_without_an_answer_may_have_been_granted_all() -> None:
    """So that Redis is told how many are open really."""
    made = permits(3, most=7)
    made.unheard(11.0)
    assert not made.owes(10.9)
    assert made.owes(11.0)
    assert made.free == 4


def test_few_events_are_held_for_few_permits() -> None:
    """A worker leases what it can send soon: no more than twice the limit, and no less than two."""
    assert RateGroup("g", 1000).soon(0.1) == 96
    assert RateGroup("g", 1000, in_flight=5).soon(0.1) == 10
    assert RateGroup("g", 1, in_flight=1).soon(0.1) == 2
