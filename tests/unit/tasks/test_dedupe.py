from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tasks.dedupe import Fingerprint
from tasks.shared import BUCKET_BITS

SIGNED_64 = range(-(2**63), 2**63)
EVENTS = st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))


@given(EVENTS)
def test_a_member_is_a_signed_64_bit_number(event: tuple[str, str]) -> None:
    """Redis stores every member as a number of 8 bytes, in a set of integers."""
    print_ = Fingerprint.of(*event)
    for verified in (True, False):
        assert int(print_.member(verified=verified)) in SIGNED_64
    assert 0 <= print_.bucket < 2**BUCKET_BITS


@given(st.integers(0, 2**63 - 1))
def test_the_ends_of_the_range_fit(number: int) -> None:
    """No digest whatever leads out of 64 bits."""
    for verified in (True, False):
        assert int(Fingerprint(0, number).member(verified=verified)) in SIGNED_64


@given(EVENTS)
def test_true_and_false_are_two_members_of_one_set(event: tuple[str, str]) -> None:
    """A report of true and one of false for one message differ in the last bit alone."""
    print_ = Fingerprint.of(*event)
    yes, no = int(print_.member(verified=True)), int(print_.member(verified=False))
    assert yes - no == 1


@given(EVENTS, EVENTS)
def test_the_same_event_has_the_same_fingerprint(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Two messages have one claim exactly when account and message id are the same."""
    assert (Fingerprint.of(*first).claim == Fingerprint.of(*second).claim) == (first == second)


def test_where_the_account_ends_counts() -> None:
    """Account and message id do not run into each other."""
    assert Fingerprint.of("ab", "c") != Fingerprint.of("a", "bc")


def test_the_sets_fill_evenly() -> None:
    """Consecutive message ids spread over all sets, so that none grows past the compact form early."""
    number = 2**BUCKET_BITS // 4
    buckets = Counter(Fingerprint.of("tencent", f"2645:{n}").bucket for n in range(number))
    # balls into bins: of n/4 balls about 22 % of n bins get one, the fullest hardly more than 8
    assert 0.20 < len(buckets) / 2**BUCKET_BITS < 0.24
    assert max(buckets.values()) < 12
    halves = Counter(bucket >> (BUCKET_BITS - 1) for bucket in buckets.elements())
    assert abs(halves[0] - halves[1]) < number * 0.05
