"""What a worker remembers until Redis knows it."""

from providers.base import Outcome, Result
from tasks.fleet.last_error import LastErrors


def failed(code: str) -> Outcome:
    """Return a failure."""
    return Outcome(Result.TRANSIENT, code, "why")


def test_the_last_of_each_account_is_taken_once() -> None:
    """However many there were in a second, one is told."""
    errors = LastErrors()
    for account, code in (("a", "1"), ("a", "2"), ("b", "3")):
        errors.note(account, failed(code))
    assert {account: error.code for account, error in errors.take().items()} == {"a": "2", "b": "3"}
    assert not errors.take()


def test_what_could_not_be_told_stays_unless_something_newer_came() -> None:
    """A Redis that is away loses no last error."""
    errors = LastErrors()
    errors.note("a", failed("old"))
    errors.note("b", failed("old"))
    taken = errors.take()
    errors.note("a", failed("new"))
    errors.put_back(taken)
    assert {account: error.code for account, error in errors.take().items()} == {"a": "new", "b": "old"}
