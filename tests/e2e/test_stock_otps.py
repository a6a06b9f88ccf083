"""OTPs that a stock Celery app tells of: a real worker takes them, and they are counted as our client's are."""

from datetime import UTC, datetime
from pathlib import Path

from celery import Celery

from otpreport.wire import SENT_TASK
from tasks.fleet.snapshot import SnapshotReader
from tasks.keys import Keys
from tasks.tracking.otps import Otps
from tests.support.fleet import TENCENT, Fleet
from tests.support.leased import message
from tests.support.wait import until

PHONE = "+6591234567"
OTPS, VERIFIED, MANY = 30, 20, 5000


def counted(fleet: Fleet) -> Otps:
    """Return what is known of the account's OTPs."""
    (account,) = SnapshotReader(fleet.redis, Keys(), {"tencent": "g"}).read().configured
    return account.otps or Otps("tencent", 0)


def test_a_stock_app_tells_of_its_otps(tmp_path: Path) -> None:
    """Of what it sent, two thirds are verified: both are counted once; what is wrong is a letter, and shows nothing."""
    with (
        Fleet(tmp_path, TENCENT) as fleet,
        Celery("stock", broker=fleet.valkey.url, set_as_current=False) as stock,
    ):
        worker = fleet.start_worker()
        now_ms = round(datetime.now(UTC).timestamp() * 1000)
        events = fleet.events(VERIFIED)
        names = [event.message_id for event in events] + [f"open-{n}" for n in range(OTPS - VERIFIED)]
        otps = [
            {"account": "tencent", "message_id": name, "sent_at": now_ms, "country": "SG"} for name in names
        ]
        for otp in (*otps, otps[0], otps[0] | {"phone": PHONE}, otps[0] | {"country": PHONE}):
            stock.send_task("otpreport.sent", kwargs={"otp": otp}, queue="otpreport.tencent")
        for event in events:
            fleet.sent.append(event)
            stock.send_task("otpreport.report", kwargs={"event": event.to_wire()}, queue="otpreport.tencent")
        until(lambda: counted(fleet).total.verified == VERIFIED)
        fleet.wait_until_settled()
        found = counted(fleet)
        assert (found.countries["SG"].sent, found.open, found.sent_gap) == (OTPS, OTPS, 0)
        books = fleet.books()["tencent"]
        assert (books.tracked, books.delivered, books.dead) == (OTPS + 1, VERIFIED, 2)
        stories = [story for story, _ in fleet.dead_letters()]
        assert {story["reason"] for story in stories} == {"invalid"}
        assert {story["why"].partition(":")[0] for story in stories} == {"phone", "country"}
        assert not any(PHONE in str(story) for story in stories)
        worker.terminate()
        worker.wait()
        assert PHONE not in worker.text
        fleet.check()


def test_a_worker_dies_with_what_it_was_told(tmp_path: Path) -> None:
    """What a killed worker held another one takes: each OTP is counted once, and none is missing."""
    with Fleet(tmp_path, TENCENT) as fleet:
        first = fleet.start_worker()
        now_ms = round(datetime.now(UTC).timestamp() * 1000)
        for number in range(MANY):
            otp = {"account": "tencent", "message_id": str(number), "sent_at": now_ms}
            fleet.push_raw(message({"otp": otp}, headers={"task": SENT_TASK}))
        until(lambda: fleet.books()["tencent"].tracked > 0)
        first.kill9()
        assert fleet.books()["tencent"].tracked < MANY, "the worker was done before it was killed"
        fleet.start_worker()
        fleet.wait_until_settled()
        until(lambda: counted(fleet).total.sent == MANY)
        found, books = counted(fleet), fleet.books()["tencent"]
        assert (found.open, found.sent_gap, found.waiting) == (MANY, 0, 0)
        assert (books.tracked, books.dead, books.faults()) == (MANY, 0, [])
