import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import Outcome, Result
from tasks.history import History
from tasks.retry import (
    Decision,
    Deliver,
    GiveUp,
    Policy,
    Reason,
    Retry,
    SlowDown,
    StopAccount,
    Wait,
    backoff,
    decide,
)
from tests.support.leased import attempts

POLICY = Policy(max_attempts=4, base=1.0, cap=10.0)
USES_NO_ATTEMPT = (Result.THROTTLED, Result.ACCOUNT, Result.CLOCK, Result.NOT_SENT)
RETRIED = (Result.TRANSIENT, Result.UNKNOWN, Result.DOUBTFUL)


@pytest.mark.parametrize(
    ("result", "decision"),
    [
        (Result.DELIVERED, Deliver()),
        (Result.THROTTLED, SlowDown(1.0)),
        (Result.TRANSIENT, Retry(0.5)),
        (Result.UNKNOWN, Retry(0.5)),
        (Result.NOT_SENT, Wait(0.5)),
        (Result.DOUBTFUL, Retry(0.5)),
        (Result.CLOCK, StopAccount()),
        (Result.ACCOUNT, StopAccount()),
        (Result.PERMANENT, GiveUp(Reason.PERMANENT)),
    ],
)
def test_what_a_first_answer_leads_to(result: Result, decision: Decision) -> None:
    """Each class of answer leads to the step that is right for it."""
    assert decide(Outcome(result), attempts(result), POLICY, 0.5) == decision


def test_every_result_is_in_the_table() -> None:
    """No class of answer is left without a decision."""
    for result in Result:
        assert isinstance(decide(Outcome(result), attempts(result), POLICY, 0.0), Decision)


@pytest.mark.parametrize("result", [Result.TRANSIENT, Result.UNKNOWN])
def test_the_last_attempt_ends_in_a_dead_letter(result: Result) -> None:
    """With its attempts used up an event is a dead letter, and not one attempt earlier."""
    assert isinstance(decide(Outcome(result), attempts(*[result] * 3), POLICY, 0.5), Retry)
    assert decide(Outcome(result), attempts(*[result] * 4), POLICY, 0.5) == GiveUp(Reason.EXHAUSTED)


def test_a_doubtful_code_is_tried_three_times() -> None:
    """A code that may be final gets three attempts, whatever else failed between them."""
    doubtful, other = Result.DOUBTFUL, Result.TRANSIENT
    policy = Policy(max_attempts=12)
    assert isinstance(decide(Outcome(doubtful), attempts(doubtful, other, doubtful), policy, 0.5), Retry)
    third = attempts(doubtful, other, doubtful, other, doubtful)
    assert decide(Outcome(doubtful), third, policy, 0.5) == GiveUp(Reason.PERMANENT)


def test_the_provider_may_ask_for_a_longer_wait() -> None:
    """A wait the provider names is kept, a shorter one than ours does not count."""
    transient, throttled = attempts(Result.TRANSIENT), Result.THROTTLED
    assert decide(Outcome(Result.TRANSIENT, retry_after=60), transient, POLICY, 0.5) == Retry(60)
    assert decide(Outcome(Result.TRANSIENT, retry_after=0), transient, POLICY, 0.5) == Retry(0.5)
    assert decide(Outcome(throttled, retry_after=7), attempts(throttled), POLICY, 0.5) == SlowDown(7)


@given(
    tried=st.integers(1, 10_000),
    base=st.floats(0.001, 3600),
    cap=st.floats(0.001, 86_400),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_the_delay_stays_below_its_ceiling(tried: int, base: float, cap: float, jitter: float) -> None:
    """However often an event has failed, the delay is in [0, cap], and its ceiling never falls."""
    policy = Policy(base=base, cap=cap)
    assert 0 <= backoff(tried, policy, jitter) <= cap
    assert backoff(tried, policy, 1.0) <= backoff(tried + 1, policy, 1.0)


@given(st.integers(1, 60))
def test_the_ceiling_doubles(tried: int) -> None:
    """Up to the cap each failure doubles the longest delay: spread, not a hammer."""
    assert backoff(tried, Policy(base=1.0, cap=1e30), 1.0) == 2.0 ** (tried - 1)


@given(st.lists(st.sampled_from(RETRIED), min_size=1, max_size=40), st.integers(1, 20))
def test_the_attempts_are_bounded(results: list[Result], most: int) -> None:
    """Whatever an event meets, it is tried at most `max_attempts` times and then is a dead letter."""
    policy, tried = Policy(max_attempts=most), 0
    for tried, result in enumerate(results, 1):
        decision = decide(Outcome(result), attempts(*results[:tried]), policy, 0.5)
        if isinstance(decision, GiveUp):
            break
        assert isinstance(decision, Retry)
    assert tried <= most


@given(
    st.sampled_from(USES_NO_ATTEMPT),
    st.lists(st.sampled_from(RETRIED), max_size=30),
    st.floats(0, 1, exclude_max=True),
)
def test_waiting_uses_no_attempt(result: Result, before: list[Result], jitter: float) -> None:
    """Throttling, clock and account faults, and what never left, bury no event, however often it was tried."""
    history = History((*attempts(*before).attempts, *attempts(result).attempts))
    assert isinstance(decide(Outcome(result), history, POLICY, jitter), SlowDown | Wait | StopAccount)


def test_without_the_bound_an_event_is_tried_for_ever() -> None:
    """The bound is what ends it: with a limit out of reach the hundredth failure is retried, too."""
    history = attempts(*[Result.TRANSIENT] * 100)
    assert isinstance(decide(Outcome(Result.TRANSIENT), history, Policy(max_attempts=10**9), 0.5), Retry)
