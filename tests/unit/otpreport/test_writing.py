"""What a reporter writes for an event."""

from hypothesis import example, given
from hypothesis import strategies as st

from otpreport import Dispatch, Verification
from otpreport.push import packed
from otpreport.wire import NOTICES, queue_name
from otpreport.writing import Writing
from tests.support.events import NOON
from tests.unit.otpreport.test_dispatch import dispatches
from tests.unit.otpreport.test_event import events

EVENT = Verification(account="tencent", message_id="26%d\r\né", occurred_at=NOON)


@given(events | dispatches, st.text(st.characters(codec="utf-8")), st.booleans())
@example(EVENT, "100 %d é%%:", True)
def test_one_event(event: Verification | Dispatch, prefix: str, tracking: bool) -> None:
    """Whatever its texts hold, what is sent for it is what the spool would keep and forward."""
    writing = Writing(prefix, tracking=tracking)
    commands, messages = writing.single(event)
    pushes = writing.pushes(event, messages)
    assert commands == packed(pushes)
    assert messages == tuple(message for push in pushes for message in push.messages)
    reports = prefix + queue_name(event.account)
    both = [reports, reports + NOTICES]
    noted = tracking and isinstance(event, Verification) and event.verified
    assert [push.key for push in pushes] == (both if noted else [both[isinstance(event, Dispatch)]])
