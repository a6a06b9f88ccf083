"""OTPs that a stock Celery app tells of: a real worker takes them, and they are counted as our client's are."""

from datetime import UTC, datetime
from pathlib import Path

from celery import Celery

from tasks.fleet.snapshot import SnapshotReader
from tasks.keys import Keys
from tasks.tracking.otps import Otps
from tests.support.fleet import TENCENT, Fleet
from tests.support.wait import until

PHONE = "+6591234567"
OTPS, VERIFIED = 30, 20


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
