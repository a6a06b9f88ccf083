import orjson
from hypothesis import given
from hypothesis import strategies as st

from providers import Outcome, Result
from tasks.delivery import Leased, LeasePurpose
from tasks.history import Attempt, History, Unsent
from tests.support.leased import attempts, leased

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NUMBERS = st.integers(0, 2**53)
ATTEMPTS = st.builds(
    Attempt,
    at_ms=NUMBERS,
    result=st.sampled_from(Result),
    code=TEXT,
    message=TEXT,
    request_id=TEXT,
    duration_ms=NUMBERS,
)
HISTORIES = st.builds(
    History,
    attempts=st.lists(ATTEMPTS, max_size=5).map(tuple),
    replayed_ms=st.none() | NUMBERS,
    unsent=st.none() | st.builds(Unsent, times=NUMBERS, at_ms=NUMBERS, code=TEXT, message=TEXT),
) | st.builds(History, replayed_ms=NUMBERS, doubted=st.booleans())


@given(HISTORIES)
def test_a_history_survives_its_record(history: History) -> None:
    """What is written is read back, in one line however many lines a provider's message has."""
    line = history.encode()
    assert b"\n" not in line
    assert History.decode(line) == history


def test_an_event_without_a_history_costs_nothing() -> None:
    """The common case, an event delivered at once, stores and parses no history."""
    assert History().encode() == b""
    assert History.decode(b"") == History()


def test_a_replay_is_a_history() -> None:
    """That an event was replayed is kept, although no attempt stands after it yet."""
    assert History.decode(History(replayed_ms=5).encode()) == History(replayed_ms=5)


def test_in_doubt_is_who_got_no_answer() -> None:
    """One attempt without an answer leaves an event in doubt for good; a refusal does not."""
    assert attempts(Result.TRANSIENT, Result.UNKNOWN, Result.TRANSIENT).in_doubt
    assert not attempts(Result.TRANSIENT, Result.DOUBTFUL).in_doubt
    assert attempts(Result.DOUBTFUL, Result.TRANSIENT, Result.DOUBTFUL).doubtful == 2


def test_an_older_worker_reads_what_never_left_as_nothing() -> None:
    """It knows no class `not_sent`: among the attempts it would make the whole record unreadable."""
    line = (
        attempts(Result.TRANSIENT)
        .with_unsent(Outcome(Result.NOT_SENT, "not_sent", "refused"), at_ms=5)
        .encode()
    )
    assert [Result(row[1]) for row in orjson.loads(line)["attempts"]] == [Result.TRANSIENT]


def test_an_attempt_that_was_sent_ends_the_count_of_those_that_never_left() -> None:
    """The next wait begins anew, and a letter tells of the last thing that happened."""
    unsent = History(unsent=Unsent(9, 5, "not_sent", "refused"))
    assert unsent.plus(Attempt(6, Result.TRANSIENT, "", "", "", 0)).unsent is None


def test_an_attempt_keeps_what_an_outcome_says() -> None:
    """The provider's words and the time it took are in the history."""
    outcome = Outcome(Result.UNKNOWN, "InternalError", "busy", "req-1")
    attempt = Attempt.of(outcome, at_ms=7, seconds=0.0126)
    assert attempt == Attempt(7, Result.UNKNOWN, "InternalError", "busy", "req-1", 13)


@given(
    history=HISTORIES, raw=st.binary(max_size=200), first_ms=NUMBERS, purpose=st.sampled_from(LeasePurpose)
)
def test_a_record_survives_redis(history: History, raw: bytes, first_ms: int, purpose: LeasePurpose) -> None:
    """Whatever bytes were sent, newlines and zeros included, a record gives them back with their story."""
    before = Leased("a", "a:w:1", 2, 1, first_ms, History(), raw)
    after = Leased.parse("a", "a:w:1", before.record(history), purpose)
    assert after == Leased("a", "a:w:1", 0, 0, first_ms, history, raw, purpose)


def test_a_new_record_counts_no_death() -> None:
    """An event that outlived a lease is innocent: earlier deaths are forgotten."""
    record = leased(deaths=2, solitary=1).record(History())
    assert not Leased.parse("tencent", "tencent:w:1", record).suspect
    assert leased(deaths=2).suspect


@given(st.binary(max_size=60))
def test_what_is_no_record_is_kept_as_the_message(record: bytes) -> None:
    """Bytes that nobody of us wrote raise nothing: they are kept whole, for the dead letter to show."""
    read = Leased.parse("a", "a:w:1", record)
    assert read.raw in record


def test_a_result_of_a_later_version_loses_nothing() -> None:
    """A record written by a newer worker stops no older one, and all its bytes stay."""
    record = b'0 0 5\n{"attempts":[[1,"a class of tomorrow","","","",0]],"replayed_ms":null}\nraw'
    assert Leased.parse("a", "a:w:1", record).raw == record
