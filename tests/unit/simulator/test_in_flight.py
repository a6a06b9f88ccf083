from simulator.in_flight import InFlight


def test_what_is_open_is_counted_and_measured() -> None:
    """The most at a time, and for how long in all, whatever order the requests end in."""
    of_key = InFlight(limit=2)
    of_key.arrive(10.0)
    assert not of_key.full
    of_key.arrive(11.0)
    assert of_key.full
    of_key.leave(13.0)
    of_key.leave(14.0)
    assert (of_key.now, of_key.most, of_key.until(20.0)) == (0, 2, 1.0 + 2 * 2.0 + 1.0)


def test_who_is_there_at_the_reset_still_counts() -> None:
    """A new ledger begins with what is open, not with nothing, and counts its seconds from then on."""
    of_key = InFlight()
    of_key.arrive(1.0)
    of_key.reset(3.0)
    assert (of_key.now, of_key.most, of_key.until(4.0)) == (1, 1, 1.0)
    assert not of_key.full
