"""What producers without our client tell of OTPs: their workers write the notices, each with a settlement."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from otpreport import Dispatch, Verification
from otpreport.wire import SENT_TASK, notice
from tasks.countries import COUNTRIES
from tasks.delivery import Delivery, Dispatched, Leased, read
from tasks.history import History
from tasks.keys import Keys
from tasks.queue.queue import Queue
from tasks.retry import Reason
from tasks.settlement import Bury, Ending, Finish, Schedule, Settlement, Track
from tests.support.admin import admin
from tests.support.leased import NOW_MS, event, message
from tests.support.otps import ACCOUNT, Tracking
from tests.support.queues import Fleet, alter
from tests.unit.otpreport.test_dispatch import dispatches
from worker.embedded import EmbeddedValkey

TOLD = b"verified 1767225600000 tencent-%d"
SENT = b"sent 1767225600000 300 SG m"
DONE = Finish(Ending.DELIVERED)


def notices(fleet: Fleet, account: str = "tencent") -> list[bytes]:
    """Return an account's notices, the first written first."""
    return cast("list[bytes]", fleet.server.lrange(fleet.keys.notices(account), 0, -1))[::-1]


def track(fleet: Fleet, account: str = "tencent") -> None:
    """Let an account be tracked, as its first OTP does."""
    fleet.server.hset(fleet.keys.otps(account), "SG:sent", 1)


async def told(fleet: Fleet) -> tuple[Leased, Dispatched]:
    """Lease and read a message that tells of an OTP that was sent."""
    otp = {"account": "tencent", "message_id": "m", "sent_at": NOW_MS, "expires_in": 300, "country": "SG"}
    fleet.server.lpush("otpreport.tencent", message({"otp": otp}, headers={"task": SENT_TASK}))
    (leased,) = (await fleet.queue().lease({"tencent": 1})).leased
    found = read(leased, now_ms=NOW_MS)
    assert isinstance(found, Dispatched)
    return leased, found


async def test_a_dispatch(fleet: Fleet) -> None:
    """It leaves the queue as the notice that our client would have written, and is in the books as tracked."""
    leased, found = await told(fleet)
    assert await fleet.settle(leased, Track(found.notice))
    assert notices(fleet) == [SENT]
    assert fleet.books() == {"taken": 1, "tracked": 1}
    assert fleet.places().balanced


async def test_a_dispatch_is_told_once(fleet: Fleet) -> None:
    """A call that is sent again tells nothing twice; one whose lease was lost tells nothing."""
    queue = fleet.queue()
    leased, found = await told(fleet)
    call = queue.next_call()
    for _ in range(2):
        assert await queue.settle([(leased, Track(found.notice))], call) == [True]
    assert await queue.settle([(leased, Track(found.notice))], queue.next_call()) == [False]
    assert notices(fleet) == [SENT]


async def test_a_dispatch_stays_while_it_can_not_be_noted(fleet: Fleet) -> None:
    """A key of a wrong type stops nothing else, is named, and loses nothing."""
    faults: list[str] = []
    queue = fleet.queue("w1", faults.extend)
    leased, found = await told(fleet)
    fleet.send(event(2))
    (other,) = await fleet.take()
    fleet.server.set(fleet.keys.notices("tencent"), "no list")
    both: list[tuple[Any, Settlement]] = [(leased, Track(found.notice)), (other, DONE)]
    assert await queue.settle(both, queue.next_call()) == [None, True]
    assert [fault.partition(":")[0] for fault in faults] == [fleet.keys.notices("tencent").partition(":")[0]]
    assert fleet.places().balanced
    assert fleet.held() == {"w1": {leased.tag}}
    fleet.server.delete(fleet.keys.notices("tencent"))
    assert await fleet.settle(leased, Track(found.notice))
    assert notices(fleet) == [SENT]


async def test_without_a_look_it_is_lost(fleet: Fleet) -> None:
    """The negative control: where the list is not looked at before, the message is gone and told to nobody."""
    leased, found = await told(fleet)
    fleet.server.set(fleet.keys.notices("tencent"), "no list")
    alter(
        fleet.queue(),
        "_settle_script",
        "queue/settle.lua",
        "if failed(list, redis.pcall('LLEN', list)) then return false end",
        "",
    )
    await fleet.settle(leased, Track(found.notice))
    assert fleet.books()["tracked"] == 1
    assert not fleet.places().balanced


ENDS: list[tuple[Settlement, bool]] = [
    (DONE, True),
    (Finish(Ending.SHED), True),
    *((Bury(reason, b"{}\nraw"), True) for reason in Reason),
    (Finish(Ending.DUPLICATE), False),
    (Schedule(0.0), False),
]


@pytest.mark.parametrize(("end", "tells"), ENDS, ids=repr)
async def test_a_verified_otp_is_told_where_its_report_ends(
    fleet: Fleet, end: Settlement, *, tells: bool
) -> None:
    """Whatever became of the report, the code was verified; a copy, and what is tried again, tell nothing."""
    track(fleet)
    fleet.send_many(3)
    deliveries = await fleet.take(3)
    await settle(fleet.queue(), deliveries, end)
    assert notices(fleet) == ([TOLD % 0, TOLD % 1, TOLD % 2] if tells else [])


async def settle(queue: Queue, deliveries: Sequence[Delivery], end: Settlement) -> None:
    """Settle several alike."""
    await queue.settle([(delivery, end) for delivery in deliveries], queue.next_call())


async def test_only_where_it_is_tracked(fleet: Fleet) -> None:
    """No account is tracked for its reports: what stays unmatched would pile up. One is from the first `sent` on."""
    track(fleet, "alibaba")
    for account in ("tencent", "alibaba"):
        fleet.send_many(1, account)
    both = [*(await fleet.take()), *(await fleet.take(account="alibaba"))]
    await settle(fleet.queue(), both, DONE)
    assert (notices(fleet), notices(fleet, "alibaba")) == ([], [b"verified 1767225600000 alibaba-1"])
    leased, found = await told(fleet)
    fleet.send(event("m"))
    (delivery,) = await fleet.take()
    queue = fleet.queue()
    ends: list[tuple[Any, Settlement]] = [(delivery, DONE), (leased, Track(found.notice))]
    await queue.settle(ends, queue.next_call())
    assert notices(fleet) == [SENT, b"verified 1767225600000 m"], "of one call, whatever its order"


async def test_nothing_is_prepared_for_an_account_that_is_not_tracked(fleet: Fleet) -> None:
    """A worker reads once a second which accounts are tracked: without it each report would carry a notice in vain."""
    track(fleet)
    fleet.tracked = ("alibaba",)
    fleet.send(event(1), event(2))
    first, second = await fleet.take(2)
    await settle(fleet.queue(), [first], DONE)
    assert notices(fleet) == []
    fleet.tracked = ("tencent",)
    await settle(fleet.queue(), [second], DONE)
    assert notices(fleet) == [b"verified 1767225600000 2"]


async def test_who_tells_of_the_first_knows_at_once(fleet: Fleet) -> None:
    """A worker does not wait for the next reading to know what it did itself, be it in the same call."""
    fleet.tracked = ()
    leased, found = await told(fleet)
    fleet.send(event("m"), event("n"))
    first, second = await fleet.take(2)
    ends: list[tuple[Any, Settlement]] = [(first, DONE), (leased, Track(found.notice))]
    await fleet.queue().settle(ends, fleet.queue().next_call())
    await settle(fleet.queue(), [second], DONE)
    assert notices(fleet) == [SENT, b"verified 1767225600000 m", b"verified 1767225600000 n"]


async def test_what_tells_nothing(fleet: Fleet) -> None:
    """Codes that were not entered; what our client told itself; and events whose lease was lost."""
    track(fleet)
    fleet.send(event(1, verified=False), event(2), event(3))
    unverified, noted, lost = await fleet.take(3)
    noted.noted = True
    fleet.server.srem(fleet.keys.held("w1"), lost.tag)
    await settle(fleet.queue(), [unverified, noted, lost], DONE)
    assert notices(fleet) == []


async def test_a_report_ends_although_it_can_not_be_told(fleet: Fleet) -> None:
    """A fault of the tracking costs no report."""
    faults: list[str] = []
    queue = fleet.queue("w1", faults.extend)
    fleet.server.set(fleet.keys.notices("tencent"), "no list")
    fleet.send_many(1)
    assert await queue.settle([(one, DONE) for one in await fleet.take()], queue.next_call()) == [True]
    assert fleet.books() == {"taken": 1, "delivered": 1}
    assert len(faults) == 1


async def test_a_dispatch_as_probe_is_followed_at_once(fleet: Fleet) -> None:
    """It asked the provider nothing: a stopped account's next event may be the probe."""
    fleet.set_state("stopped")
    leased, found = await told(fleet)
    assert leased.probe
    assert await fleet.settle(leased, Track(found.notice))
    fleet.send_many(1)
    assert [one.leased.probe for one in await fleet.take()] == [True]


@settings(max_examples=20)
@given(st.lists(dispatches, min_size=1, max_size=20, unique_by=lambda sent: sent.message_id))
def test_the_tracker_reads_what_is_written(shared_valkey: EmbeddedValkey, sent: list[Dispatch]) -> None:
    """Whatever characters an id has, the OTP is found again, and its verification belongs to it."""
    with redis.Redis(port=shared_valkey.port) as client:
        admin(client).flushall()
        tracking = Tracking(client)
        tracking.set_clock(NOW_MS // 1000)
        now = datetime.fromtimestamp(NOW_MS / 1000, UTC)
        tracking.tell(*(notice(replace(one, sent_at=now)) for one in sent))
        half = [
            Verification(account=ACCOUNT, message_id=one.message_id, occurred_at=now) for one in sent[::2]
        ]
        tracking.tell(*map(notice, half))
        assert tracking.track() == (len(sent) + len(half), 0, False, [])
        kept = cast("list[bytes]", admin(client).zrange(Keys().open_otps(ACCOUNT), 0, -1))
        assert sorted(kept) == sorted(one.message_id.encode() for one in sent)
        otps = tracking.otps
        assert (otps.total.sent, otps.total.verified, otps.unmatched) == (len(sent), len(half), 0)
        assert otps.countries.keys() <= set(COUNTRIES)


def test_a_record_survives_another_version(fleet: Fleet) -> None:
    """What is stored of a message with the header is what was sent: a worker of any version reads it."""
    delivery = Delivery(Leased("tencent", "t", 0, 0, 1, History(), b"raw"), event(), noted=True)
    assert delivery.leased.record(History()) == b"0 0 1\n\nraw"
