from hypothesis import given
from hypothesis import strategies as st

from worker.engine import Limits


def fill(concurrency: int, accounts: int, *, at_once: int = 10**6) -> list[int]:
    """Return what each account holds when all take what they may, turn by turn, and none lets go."""
    limits, held = Limits(concurrency, {}), [0] * accounts
    before: list[int] = []
    while held != before:
        before = list(held)
        for account in range(accounts):
            held[account] += min(at_once, limits.room(held[account], sum(held)))
    return held


@given(st.integers(3, 500))
def test_an_account_that_hangs_leaves_room(concurrency: int) -> None:
    """An account whose provider never answers fills two thirds of the worker, and another still gets in."""
    limits, (greedy,) = Limits(concurrency, {}), fill(concurrency, 1)
    assert abs(greedy - concurrency * 2 / 3) <= 1
    assert limits.room(0, greedy) > 0


@given(concurrency=st.integers(1, 300), accounts=st.integers(1, 6))
def test_the_worker_is_never_overfull(concurrency: int, accounts: int) -> None:
    """Whatever the accounts, together they hold no more than the concurrency."""
    assert sum(fill(concurrency, accounts)) <= concurrency


@given(concurrency=st.integers(20, 300), accounts=st.integers(2, 6))
def test_hungry_accounts_share_evenly(concurrency: int, accounts: int) -> None:
    """Accounts that all want everything hold about the same."""
    held = fill(concurrency, accounts, at_once=1)
    assert max(held) - min(held) <= 1


@given(concurrency=st.integers(1, 300), held=st.integers(0, 300), others=st.integers(0, 300))
def test_taking_many_at_once_is_taking_one_by_one(concurrency: int, held: int, others: int) -> None:
    """The room is what an account gets that asks again after each event."""
    limits, taken = Limits(concurrency, {}), 0
    while held + taken < 2 * (concurrency - others - held - taken):
        taken += 1
    assert limits.room(held, held + others) == taken


def test_the_smallest_worker_works() -> None:
    """With one request in flight at most, one goes."""
    assert fill(1, 1) == [1]
