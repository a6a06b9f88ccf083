"""The twin for the tests of a web app."""

import pytest

from otpreport import Dispatch, Receipt, Receipts, Reporter, Verification
from otpreport.testing import RecordingReporter
from tests.unit.otpreport.test_event import NOON


def event(number: int = 1) -> Verification:
    """Return a good event."""
    return Verification(account="tencent", message_id=str(number), occurred_at=NOON)


async def test_records() -> None:
    """Every way of reporting remembers the event and answers `queued`."""
    with RecordingReporter() as reporter:
        assert reporter.report(event(1)) == Receipt("queued")
        assert await reporter.areport(event(2)) == Receipt("queued")
        assert reporter.report_many([event(3), event(4)]) == Receipts(queued=2)
        assert [kept.message_id for kept in reporter.events] == ["1", "2", "3", "4"]


def test_drops_when_told() -> None:
    """A web app's test can see what its view does when events are dropped."""
    reporter = RecordingReporter("dropped", "Redis is away")
    assert reporter.report(event()) == Receipt("dropped", "Redis is away")
    assert reporter.report_many([event()]).dropped_events == (event(),)
    assert reporter.dropped == 2
    reporter.status = "spooled"
    assert reporter.report(event()).status == "spooled"


def test_same_protocol() -> None:
    """It stands in for a Reporter, and refuses what that refuses."""
    reporter: Reporter = RecordingReporter()
    with pytest.raises(TypeError, match="Verification"):
        reporter.report({"account": "tencent"})  # type: ignore[arg-type]  # that is the test
    with pytest.raises(TypeError, match="Verification"):
        reporter.report_many([event(), None])  # type: ignore[list-item]  # that is the test


def test_it_refuses_a_misspelt_account() -> None:
    """A web app's test sees a misspelt account, as it would in production."""
    reporter = RecordingReporter(accounts=["tencent", "alibaba"])
    assert reporter.warm_up()
    reporter.report(event())
    wrong = Verification(account="tencnet", message_id="1", occurred_at=NOON)
    with pytest.raises(ValueError, match="tencnet is none of this reporter's accounts: did you mean tencent"):
        reporter.report(wrong)
    assert reporter.events == [event()]


async def test_it_takes_a_dispatch_as_a_reporter_does() -> None:
    """A web app's test sees that its reporter was made without tracking, and what it would have sent."""
    sent = Dispatch(account="tencent", message_id="1", sent_at=NOON, country="SG")
    reporter = RecordingReporter(accounts=["tencent"], tracking=True)
    reporter.report(sent)
    await reporter.areport(event())
    assert reporter.report_many([sent, event()]) == Receipts(queued=2)
    assert reporter.events == [sent, event(), sent, event()]
    with pytest.raises(ValueError, match="did you mean tencent"):
        reporter.report(Dispatch(account="tencnet", message_id="1", sent_at=NOON))
    with pytest.raises(ValueError, match="tracking=True"):
        RecordingReporter().report(sent)
    with pytest.raises(ValueError, match="tracking must be True or False"):
        RecordingReporter(tracking="no")  # type: ignore[arg-type]  # that is the test
